package local

import (
	"errors"
	"fmt"
	"net"
)

// checkPeer asks the kernel who is at the other end and fails with
// ErrForbidden for anybody but the user own and root.
func checkPeer(c *net.UnixConn, own int) error {
	uid, err := peerUID(c)
	if err != nil {
		return fmt.Errorf("%w: its owner cannot be told: %w", ErrForbidden, err)
	}
	if !trusted(uid, own) {
		return fmt.Errorf("%w: user %d, this process runs as %d", ErrForbidden, uid, own)
	}
	return nil
}

// trusted is the rule: the same user, or root on either side.
func trusted(uid, own int) bool { return uid == own || uid == 0 || own == 0 }

// onSocket calls get with the connection's descriptor.
func onSocket[T any](c *net.UnixConn, get func(fd int) (T, error)) (got T, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return got, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { got, failed = get(int(fd)) })
	return got, errors.Join(err, failed)
}
