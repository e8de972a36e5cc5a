package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshnode/meshnode/node"
)

func TestLongDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 150), strings.Repeat("e", 150))
	n := fake(t)
	s := serve(t, n, dir)
	st, err := dial(t, dir).Status(t.Context())
	ok(t, err)
	equal(t, "status", st, n.State)
	ok(t, s.Close())
	if _, err := os.Lstat(filepath.Join(dir, socketName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after Close: %v", err)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home")
	serve(t, fake(t), dir)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, socketName): 0o600} {
		info, err := os.Lstat(path)
		ok(t, err)
		equal(t, path, info.Mode().Perm(), want)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	var none *NotRunningError
	if _, err := Dial(dir); !errors.As(err, &none) || none.Dir != dir {
		t.Errorf("an empty directory: got %v", err)
	}
	if _, err := Dial(filepath.Join(dir, "none")); !errors.As(err, &none) {
		t.Errorf("no directory: got %v", err)
	}
	abandon(t, dir)
	if _, err := Dial(dir); !errors.As(err, &none) {
		t.Errorf("a dead socket: got %v", err)
	}
}

// abandon leaves a socket in dir, as a node that is killed does.
func abandon(t *testing.T, dir string) {
	t.Helper()
	ln, _, err := bind(dir)
	ok(t, err)
	ok(t, ln.Close())
	_, err = os.Lstat(filepath.Join(dir, socketName))
	ok(t, err)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	dir := t.TempDir()
	abandon(t, dir)
	serve(t, fake(t), dir)
	_, err := dial(t, dir).Status(t.Context())
	ok(t, err)
}

func TestLiveSocketIsNot(t *testing.T) {
	dir := t.TempDir()
	serve(t, fake(t), dir)
	if _, err := New(fake(t), dir, nil); !errors.Is(err, node.ErrInUse) {
		t.Errorf("got %v", err)
	}
	_, err := dial(t, dir).Status(t.Context())
	ok(t, err)
}

func TestSomethingElseInTheSocketsPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, socketName)
	ok(t, os.WriteFile(path, []byte("precious"), 0o600))
	if _, err := New(fake(t), dir, nil); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("got %v", err)
	}
	data, err := os.ReadFile(path)
	ok(t, err)
	equal(t, "the file", string(data), "precious")
}

func TestCloseWithoutRun(t *testing.T) {
	dir := t.TempDir()
	s, err := New(fake(t), dir, nil)
	ok(t, err)
	ok(t, errors.Join(s.Close(), s.Close()))
	ok(t, s.Run(t.Context()))
	again, err := New(fake(t), dir, nil)
	ok(t, err)
	ok(t, again.Close())
}

func TestRunEndsWithItsContext(t *testing.T) {
	s, err := New(fake(t), t.TempDir(), nil)
	ok(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ok(t, s.Run(ctx))
	ok(t, s.Close())
}

func TestTrust(t *testing.T) {
	for _, c := range []struct {
		uid, own int
		want     bool
	}{{1000, 1000, true}, {0, 1000, true}, {1000, 0, true}, {1001, 1000, false}} {
		equal(t, "trusted", trusted(c.uid, c.own), c.want)
	}
}

func TestStrangerIsCutOff(t *testing.T) {
	dir := t.TempDir()
	s, err := New(fake(t), dir, nil)
	ok(t, err)
	s.ln.check = func(c *net.UnixConn) error {
		uid, err := peerUID(c)
		if err != nil || uid != os.Getuid() {
			t.Errorf("the kernel says user %d, %v", uid, err)
		}
		return ErrForbidden
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	t.Cleanup(func() { ok(t, errors.Join(s.Close(), <-ran)) })
	if _, err := dial(t, dir).Status(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := serve(t, fake(t), dir)
	for range maxConns {
		conn, err := connect(t.Context(), dir)
		ok(t, err)
		t.Cleanup(func() { _ = conn.Close() })
	}
	c := dial(t, dir) // accepted after all those before it, and closed at once
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
	equal(t, "open", s.ln.open.Load(), maxConns)
}

func TestNodeThatDiesInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	ln, _, err := bind(dir)
	ok(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"))
			_ = c.Close()
		}
	}()
	var got strings.Builder
	if _, err := dial(t, dir).Result(t.Context(), node.JobStatus{}.Job, &got); !errors.Is(err, ErrGone) {
		t.Errorf("got %v after %q", err, got.String())
	}
}
