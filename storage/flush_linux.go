package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncDisk brings the file system that holds f to the disk: one call for any
// number of new blocks.
func syncDisk(f *os.File) error { return unix.Syncfs(int(f.Fd())) }
