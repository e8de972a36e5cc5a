//go:build unix && !linux

package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncDisk brings all file systems to the disk: there is no call for one.
func syncDisk(*os.File) error {
	return unix.Sync()
}
