package local

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID is the user of the process that made the connection (SO_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	cred, err := onSocket(c, func(fd int) (*unix.Ucred, error) {
		return unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}
