package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/meshnode/meshnode/node"
)

// socketName is the socket's name in a node's directory.
const socketName = "meshnode.sock"

// maxSocketPath is the longest path that every system takes for a socket
// (104 bytes with the final zero; Linux takes 108).
const maxSocketPath = 103

// connectTimeout bounds connecting: the other end is on this machine.
const connectTimeout = 5 * time.Second

// connect opens a connection to the socket in dir and checks whose it is.
func connect(ctx context.Context, dir string) (*net.UnixConn, error) {
	path, release, err := reach(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	d := net.Dialer{Timeout: connectTimeout}
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	conn := c.(*net.UnixConn)
	if err := checkPeer(conn, os.Getuid()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// nobodyAnswers tells that there is no node behind the socket, from an error of
// connect.
func nobodyAnswers(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR)
}

// bind creates the socket in dir. A socket that nobody answers is replaced; a
// live one is not: bind then fails with node.ErrInUse.
func bind(dir string) (*net.UnixListener, os.FileInfo, error) {
	if err := clearStale(dir); err != nil {
		return nil, nil, err
	}
	path, release, err := reach(dir)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, fmt.Errorf("making the socket in %s: %w", dir, err)
	}
	// The listener knows a path that may not outlive this function; the
	// server removes the socket itself.
	ln.SetUnlinkOnClose(false)
	full := filepath.Join(dir, socketName)
	if err := os.Chmod(full, 0o600); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making the socket in %s private: %w", dir, err), ln.Close())
	}
	info, err := os.Lstat(full)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("making the socket in %s: %w", dir, err), ln.Close())
	}
	return ln, info, nil
}

// clearStale removes a socket that a node left behind when it was killed.
func clearStale(dir string) error {
	full := filepath.Join(dir, socketName)
	info, err := os.Lstat(full)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for a socket in %s: %w", dir, err)
	case info.Mode()&os.ModeSocket == 0:
		return fmt.Errorf("%s is not a socket: move it away, or choose another directory", full)
	}
	conn, err := connect(context.Background(), dir)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("%w: %s", node.ErrInUse, dir)
	}
	if !nobodyAnswers(err) {
		return fmt.Errorf("%w: %s: %w", node.ErrInUse, dir, err)
	}
	if err := os.Remove(full); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing a dead node's socket: %w", err)
	}
	return nil
}

// removeSocket removes the socket in dir if it is still the one that info
// describes, and not a successor's.
func removeSocket(dir string, info os.FileInfo) error {
	full := filepath.Join(dir, socketName)
	now, err := os.Lstat(full)
	if err != nil || !os.SameFile(now, info) {
		return nil
	}
	return os.Remove(full)
}
