package guest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/protocol"
)

func TestMain(m *testing.M) {
	ServeIfChild()
	servePoolIfAsked()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if dir, err := sharedDir(); err == nil {
			os.RemoveAll(dir)
		}
		os.Exit(code)
	}))
}

// sharedDir is the pools' folder of tests with a Go guest, so that it is
// compiled once: that takes the race detector ten seconds.
var sharedDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "guest-test-") })

// newGoPool is a test pool for goProgram.
func newGoPool(t testing.TB, size int) *Pool {
	t.Helper()
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	return newTestPool(t, Config{Size: size, Dir: dir})
}

// newTestPool is a pool with a folder of its own that is closed with the test.
func newTestPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	p := NewPool(cfg)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("closing the pool: %v", err)
		}
	})
	return p
}

// result is what came of a run.
type result struct {
	Report
	out string
	err error
}

func runWith(t testing.TB, p *Pool, r Run, in string) result {
	t.Helper()
	var out bytes.Buffer
	r.In, r.Out = strings.NewReader(in), &out
	report, err := p.Run(t.Context(), r)
	return result{report, out.String(), err}
}

func runShell(t testing.TB, p *Pool, command, in string) result {
	t.Helper()
	return runWith(t, p, Run{Program: Program{Kind: protocol.Exec, Command: command}}, in)
}

// wantKind checks that a run failed in the given way; "" means not at all.
func wantKind(t testing.TB, r result, kind protocol.FailKind) {
	t.Helper()
	var e *Error
	switch {
	case kind == "" && r.err != nil:
		t.Fatalf("the run failed: %v\nlog: %s", r.err, r.Log)
	case kind == "":
	case !errors.As(r.err, &e):
		t.Fatalf("got error %v, want one of kind %s", r.err, kind)
	case e.Kind != kind:
		t.Fatalf("got kind %s (%v), want %s\nlog: %s", e.Kind, e, kind, r.Log)
	}
}

// goProgram is testdata/guest.go, compiled once for all tests.
func goProgram(t testing.TB) string {
	t.Helper()
	module, err := compiledGuest()
	if err != nil {
		t.Fatal(err)
	}
	return moduleFile(t, module)
}

var compiledGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "guest-test-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "guest.wasm")
	if err := CompileGo(context.Background(), "testdata/guest.go", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func moduleFile(t testing.TB, binary []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.wasm")
	if err := os.WriteFile(path, binary, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// endless is a reader that never ends and counts what was taken.
type endless struct{ taken int64 }

func (e *endless) Read(p []byte) (int, error) {
	e.taken += int64(len(p))
	return len(p), nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

var _ io.ReadWriter = failing{}
