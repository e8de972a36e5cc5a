package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Client calls the node that serves a directory.
type Client struct {
	dir  string
	http *http.Client
}

// Dial finds the node that runs in dir. It fails with a *NotRunningError when
// there is none, and with ErrForbidden when it belongs to another user.
func Dial(dir string) (*Client, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	conn, err := connect(context.Background(), dir)
	switch {
	case err == nil:
		_ = conn.Close()
	case nobodyAnswers(err):
		return nil, &NotRunningError{dir}
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w: reaching the node in %s: %w", ErrForbidden, dir, err)
	default:
		return nil, fmt.Errorf("reaching the node in %s: %w", dir, err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, dir) },
		// A trailer is found only if it fits into this buffer; JSON makes up to
		// six bytes of one, and base64 four of three.
		ReadBufferSize:     16 * maxErrorText,
		DisableCompression: true,
	}
	return &Client{dir, &http.Client{Transport: transport}}, nil
}

// Close gives up the client's idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Status is the node's account of itself.
func (c *Client) Status(ctx context.Context) (node.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quickTimeout, ErrGone)
	defer cancel()
	var st node.Status
	err := c.call(ctx, http.MethodGet, "/v1/status", nil, &st)
	return st, err
}

// Peers are the members that the node knows.
func (c *Client) Peers(ctx context.Context) ([]node.Peer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quickTimeout, ErrGone)
	defer cancel()
	var peers []node.Peer
	err := c.call(ctx, http.MethodGet, "/v1/peers", nil, &peers)
	return peers, err
}

// Invite makes a token that admits one node.
func (c *Client) Invite(ctx context.Context, o node.InviteOptions) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, quickTimeout, ErrGone)
	defer cancel()
	var reply inviteReply
	err := c.call(ctx, http.MethodPost, "/v1/invite", o, &reply)
	return reply.Token, err
}

// Add imports the file or folder at path, which the node reads.
func (c *Client) Add(ctx context.Context, path string, report node.Progress) (node.Added, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return node.Added{}, fmt.Errorf("finding %s: %w", path, err)
	}
	var added node.Added
	err = c.stream(ctx, http.MethodPost, "/v1/add", pathRequest{path}, bytesFrom(report), &added)
	return added, err
}

// Cat writes the file that id names to w.
func (c *Client) Cat(ctx context.Context, id protocol.CID, w io.Writer) error {
	_, err := c.raw(ctx, "/v1/files/"+id.String(), w)
	return err
}

// Get lets the node write the file or folder that id names to path.
func (c *Client) Get(ctx context.Context, id protocol.CID, path string, report node.Progress) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding %s: %w", path, err)
	}
	return c.stream(ctx, http.MethodPost, "/v1/files/"+id.String()+"/get", pathRequest{path}, bytesFrom(report), nil)
}

// bytesFrom decodes the reports of a call that moves bytes.
func bytesFrom(report node.Progress) func(json.RawMessage) error {
	return func(b json.RawMessage) error {
		var p progress
		if err := json.Unmarshal(b, &p); err != nil {
			return err
		}
		if report != nil {
			report(p.Done, p.Total)
		}
		return nil
	}
}

// do sends a request. The reply's status is 200; every other one is an error.
func (c *Client) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encoding a request: %w", err)
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://meshnode"+path, content)
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var failed errorBody
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&failed); err != nil {
		return nil, fmt.Errorf("the node in %s answered %s to %s %s: is it of another version?", c.dir, resp.Status, method, path)
	}
	return nil, failed.restore()
}

// call is do for a reply that is one JSON value.
func (c *Client) call(ctx context.Context, method, path string, body, reply any) error {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return c.lost(ctx, err)
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return fmt.Errorf("decoding the node's reply to %s %s: %w", method, path, err)
	}
	return nil
}

// lost turns an error of the connection into what it means: the caller gave up,
// or the node went away.
func (c *Client) lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, ErrGone) {
		return cause
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	if nobodyAnswers(err) {
		return &NotRunningError{c.dir}
	}
	return fmt.Errorf("%w: %s: %w", ErrGone, c.dir, err)
}
