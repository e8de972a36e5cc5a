//go:build !linux

package local

import (
	"fmt"
	"path/filepath"
)

// reach returns the path of dir's socket; release does nothing here.
func reach(dir string) (path string, release func(), err error) {
	full := filepath.Join(dir, socketName)
	if len(full) > maxSocketPath {
		return "", nil, fmt.Errorf("the path of the node's socket has %d bytes, and this system takes %d: choose a shorter directory than %s",
			len(full), maxSocketPath, dir)
	}
	return full, func() {}, nil
}
