package local

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
)

// guardedListener accepts trusted users only, and at most maxConns at once: the
// others find their connection closed.
type guardedListener struct {
	*net.UnixListener
	check func(*net.UnixConn) error
	log   *slog.Logger
	open  atomic.Int64
}

func (l *guardedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if err := l.check(c); err != nil {
			l.log.Warn("local connection refused", "error", err)
			_ = c.Close()
			continue
		}
		if l.open.Add(1) > maxConns {
			l.open.Add(-1)
			l.log.Warn("local connection refused", "error", "too many are open", "limit", maxConns)
			_ = c.Close()
			continue
		}
		return &countedConn{UnixConn: c, open: &l.open}, nil
	}
}

// countedConn gives its place back when it is closed.
type countedConn struct {
	*net.UnixConn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.UnixConn.Close()
}
