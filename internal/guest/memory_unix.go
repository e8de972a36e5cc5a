//go:build unix

package guest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// reserve takes a range of addresses without memory behind it.
func reserve(size uint64) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(-1, 0, int(size), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, fmt.Errorf("reserving %s of addresses: %w", bytesText(int64(size)), err)
	}
	return b, nil
}

// open makes b, a beginning of a reserved range, usable; it reads as zero.
func open(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE)
}

func release(b []byte) {
	if len(b) > 0 {
		_ = unix.Munmap(b)
	}
}
