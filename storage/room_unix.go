//go:build unix

package storage

import (
	"errors"
	"fmt"
	"syscall"
)

// A full disk must not cost what is already stored. The metadata database
// cannot go on after a failed write, so blocks leave room for it, and it
// refuses to write before the disk would.
const (
	openReserve  = 1 << 20 // a new log and an empty table
	metaReserve  = 4 << 20 // a log, a table being flushed and one being merged
	blockReserve = 8 << 20
)

// room fails with ErrFull unless reserve bytes are free on the store's disk.
// Where that cannot be asked it says nothing: the write itself will fail.
func (s *Store) room(reserve uint64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
		return nil
	}
	if free := uint64(st.Bavail) * uint64(st.Bsize); free < reserve {
		return fmt.Errorf("%w (%d KiB free in %s)", ErrFull, free>>10, s.dir)
	}
	return nil
}

// Room fails with ErrFull while blocks would not be taken.
func (s *Store) Room() error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	return s.room(blockReserve)
}

// full adds ErrFull to an error that says that the disk or the quota is.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w (%w)", ErrFull, err)
	}
	return err
}

// DiskError adds ErrFull to an error of a file of Spool that says that the disk
// is.
func DiskError(err error) error { return full(err) }
