//go:build darwin || freebsd

package local

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user of the process that made the connection
// (LOCAL_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	cred, err := onSocket(c, func(fd int) (*unix.Xucred, error) {
		return unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}
