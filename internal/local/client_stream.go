package local

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// stream is do for a reply in events: report gets each report, and result, if
// it is not nil, what the call returned, next to an error too.
func (c *Client) stream(ctx context.Context, method, path string, body any, report func(json.RawMessage) error, result any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("decoding the node's reply to %s %s: %w", method, path, err)
		}
		if e.Done {
			return ended(e, result)
		}
		if err := report(e.Report); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return c.lost(ctx, err)
	}
	return c.lost(ctx, io.ErrUnexpectedEOF)
}

// ended takes the last event apart.
func ended(e event, result any) error {
	if result != nil && e.Result != nil {
		if err := json.Unmarshal(e.Result, result); err != nil {
			return fmt.Errorf("decoding the node's result: %w", err)
		}
	}
	if e.Error != nil {
		return e.Error.restore()
	}
	return nil
}

// raw is do for a reply in bytes, which go to w.
func (c *Client) raw(ctx context.Context, path string, w io.Writer) (provisional bool, err error) {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	out := &sink{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		if out.err != nil {
			return false, fmt.Errorf("writing the result: %w", out.err)
		}
		return false, c.lost(ctx, err)
	}
	if text := resp.Trailer.Get(trailerError); text != "" {
		return false, c.failed(text)
	}
	return resp.Trailer.Get(trailerProvisional) == "true", nil
}

// failed is the error in a trailer.
func (c *Client) failed(trailer string) error {
	var body errorBody
	text, err := base64.StdEncoding.DecodeString(trailer)
	if err == nil {
		err = json.Unmarshal(text, &body)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: decoding the end of the result: %w", ErrGone, c.dir, err)
	}
	return body.restore()
}

// sink remembers that it was the writer that failed, and not the node.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil {
		s.err = err
	}
	return n, err
}
