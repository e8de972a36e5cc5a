package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/meshnode/meshnode/internal/local/localtest"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// calls are all methods that can fail, by name.
func calls(c *Client, dir string) map[string]func(context.Context) error {
	job := localtest.Job()
	return map[string]func(context.Context) error{
		"Invite": func(ctx context.Context) error { _, err := c.Invite(ctx, node.InviteOptions{}); return err },
		"Add":    func(ctx context.Context) error { _, err := c.Add(ctx, dir, nil); return err },
		"Cat":    func(ctx context.Context) error { return c.Cat(ctx, job, io.Discard) },
		"Get":    func(ctx context.Context) error { return c.Get(ctx, job, dir, nil) },
		"Submit": func(ctx context.Context) error { _, err := c.Submit(ctx, node.JobSpec{}, nil); return err },
		"Jobs":   func(ctx context.Context) error { _, err := c.Jobs(ctx); return err },
		"JobStatus": func(ctx context.Context) error {
			_, err := c.JobStatus(ctx, job)
			return err
		},
		"Wait":        func(ctx context.Context) error { _, err := c.Wait(ctx, job, nil); return err },
		"Result":      func(ctx context.Context) error { _, err := c.Result(ctx, job, io.Discard); return err },
		"ResultParts": func(ctx context.Context) error { _, err := c.ResultParts(ctx, job, dir); return err },
		"Logs":        func(ctx context.Context) error { return c.Logs(ctx, job, nil) },
		"Cancel":      func(ctx context.Context) error { return c.Cancel(ctx, job) },
	}
}

func TestEveryErrorThroughEveryMethod(t *testing.T) {
	n, c := pair(t)
	n.Seen = []node.JobStatus{{Job: localtest.Job()}}
	for method, call := range calls(c, t.TempDir()) {
		for _, k := range kinds() {
			n.Errs = map[string]error{method: fmt.Errorf("task 0/1 on \"x\"\n  because: %w", k.sentinel)}
			err := call(t.Context())
			if !errors.Is(err, k.sentinel) || err.Error() != n.Errs[method].Error() {
				t.Errorf("%s with %s: got %v", method, k.code, err)
			}
			for _, other := range kinds() {
				if other.code != k.code && errors.Is(err, other.sentinel) {
					t.Errorf("%s with %s is also %s", method, k.code, other.code)
				}
			}
		}
		n.Errs = map[string]error{method: errors.New("plain")}
		if err := call(t.Context()); err == nil || err.Error() != "plain" {
			t.Errorf("%s with an error of no kind: got %v", method, err)
		}
	}
}

func TestClientThatGoesAwayEndsTheCall(t *testing.T) {
	for method := range calls(nil, "") {
		if method == "Invite" {
			continue // takes no context
		}
		t.Run(method, func(t *testing.T) {
			n, dir := fake(t), t.TempDir()
			n.Hangs[method] = true
			s := serve(t, n, dir)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- calls(dial(t, dir), dir)[method](ctx) }()
			equal(t, "entered", <-n.Entered, method)
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("the caller got %v", err)
			}
			s.calls.Wait() // the handler returns only once its context has ended
			equal(t, "ended", n.Ended(), []string{method})
		})
	}
}

func TestStoppingNodeSaysSo(t *testing.T) {
	for _, method := range []string{"Wait", "Result", "JobStatus", "Logs"} {
		t.Run(method, func(t *testing.T) {
			n, dir := fake(t), t.TempDir()
			n.Hangs[method] = true
			n.Output = []byte("begun")
			s := serve(t, n, dir)
			ended := make(chan error, 1)
			go func() { ended <- calls(dial(t, dir), dir)[method](t.Context()) }()
			<-n.Entered
			ok(t, s.Close())
			if err := <-ended; !errors.Is(err, ErrStopping) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestBrokenResultIsAnError(t *testing.T) {
	n, c := pair(t)
	for _, size := range []int{1, 100_000} {
		n.Output = bytes.Repeat([]byte("x"), size)
		text := "lost block\r\n\x00\x7f\xff \u20ac " + strings.Repeat("\x01", 20_000)
		n.Errs["Result"] = fmt.Errorf("%s: %w", text, node.ErrNotFound)
		var out bytes.Buffer
		_, err := c.Result(t.Context(), localtest.Job(), &out)
		if !errors.Is(err, node.ErrNotFound) || !strings.HasPrefix(err.Error(), "lost block\r\n") {
			t.Errorf("after %d bytes: got %.100v", size, err)
		}
		equal(t, "bytes before the error", out.Len(), size)
	}
}

func TestUnwritableSinkIsNotTheNodesFault(t *testing.T) {
	n, c := pair(t)
	n.Output = make([]byte, 1<<20)
	_, err := c.Result(t.Context(), localtest.Job(), fullDisk{})
	if !errors.Is(err, errFull) || errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

var errFull = errors.New("no space left")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestRequestsAreBounded(t *testing.T) {
	_, c := pair(t)
	spec := node.JobSpec{Inputs: []string{"/" + strings.Repeat("x", maxRequest)}}
	if _, err := c.Submit(t.Context(), spec, nil); !errors.Is(err, node.ErrInput) {
		t.Errorf("got %v", err)
	}
}

func TestUnknownThings(t *testing.T) {
	_, c := pair(t)
	other := protocol.NewCID(protocol.CodecRaw, []byte("other"))
	if _, err := c.Result(t.Context(), other, io.Discard); !errors.Is(err, node.ErrUnknownJob) {
		t.Errorf("an unknown job: got %v", err)
	}
	if err := c.Cat(t.Context(), other, io.Discard); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("an unknown file: got %v", err)
	}
	if _, err := c.Add(t.Context(), os.DevNull+"/none", nil); !errors.Is(err, node.ErrInput) {
		t.Errorf("a missing file: got %v", err)
	}
}
