package local

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// lineWriter writes events, one a line, each flushed.
type lineWriter struct {
	w     http.ResponseWriter
	began bool
}

func newLineWriter(w http.ResponseWriter) *lineWriter { return &lineWriter{w: w} }

func (l *lineWriter) write(e event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encoding an event: %w", err)
	}
	if !l.began {
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.began = true
	}
	if _, err := l.w.Write(append(b, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(l.w).Flush()
}

func (l *lineWriter) report(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a report: %w", err)
	}
	return l.write(event{Report: b})
}

func (l *lineWriter) end(result any, failed error) error {
	last := event{Done: true}
	if failed != nil {
		body, _ := describe(failed)
		last.Error = &body
	}
	b, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encoding a result: %w", err)
	}
	last.Result = b
	return l.write(last)
}

// slot holds the latest report that was not yet sent: what is older is of no
// use, and a slow client never holds up the call.
type slot[P any] struct {
	mu sync.Mutex
	c  chan P // of capacity 1
}

func (s *slot[P]) put(p P) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.c:
	default:
	}
	s.c <- p
}

type outcome struct {
	result any
	err    error
}

// stream runs call and writes what it reports, at most once per reportEvery,
// and how it ended.
func stream[P any](w http.ResponseWriter, r *http.Request, call func(ctx context.Context, report func(P)) (any, error)) {
	latest := &slot[P]{c: make(chan P, 1)}
	done := make(chan outcome, 1)
	go func() {
		result, err := call(r.Context(), latest.put)
		done <- outcome{result, err}
	}()
	lines := newLineWriter(w)
	out := relay(lines, latest.c, done)
	select {
	case p := <-latest.c: // what was reported last of all
		_ = lines.report(p)
	default:
	}
	_ = lines.end(out.result, explain(r, out.err))
}

// relay writes reports until the call is done.
func relay[P any](lines *lineWriter, reports <-chan P, done <-chan outcome) outcome {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case out := <-done:
			return out
		case <-pause.C:
		}
		select {
		case out := <-done:
			return out
		case p := <-reports:
			if lines.report(p) != nil {
				return <-done // the client is gone, which ends the call
			}
		}
		pause.Reset(reportEvery)
	}
}

// countingWriter knows whether anything was written.
type countingWriter struct {
	io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n += int64(n)
	return n, err
}

// raw runs call and lets it write the body. An error before the first byte is
// the whole reply, a later one stands in the trailer.
func raw(w http.ResponseWriter, r *http.Request, call func(ctx context.Context, out io.Writer) (bool, error)) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", trailerError+", "+trailerProvisional)
	out := &countingWriter{Writer: w}
	provisional, err := call(r.Context(), out)
	if err != nil && out.n == 0 {
		w.Header().Del("Trailer")
		fail(w, r, err)
		return
	}
	if err != nil {
		body, _ := describe(explain(r, err))
		text, _ := json.Marshal(body) // two strings always encode
		w.Header().Set(trailerError, base64.StdEncoding.EncodeToString(text))
		return
	}
	if provisional {
		w.Header().Set(trailerProvisional, "true")
	}
}
