package local

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// reach returns a path to dir's socket that is short enough for the kernel,
// and stays valid until release is called. A long path goes through a
// descriptor of the directory.
func reach(dir string) (path string, release func(), err error) {
	full := filepath.Join(dir, socketName)
	if len(full) <= maxSocketPath {
		return full, func() {}, nil
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	path = fmt.Sprintf("/proc/self/fd/%d/%s", fd, socketName)
	return path, func() { _ = unix.Close(fd) }, nil
}
