package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
)

// maxCached is how many compiled modules stay on disk; a Go program's takes
// some 5 to 10 MB.
const maxCached = 128

// folders are a pool's folders on disk:
//
//	cache/        compiled modules, shared by all pools
//	tasks/ID/     of one pool; "lock" in it is locked while its process lives
//	tasks/ID/N    private folder of one task
type folders struct {
	cache string
	own   string
	lock  *os.File
	count atomic.Uint64
}

// openFolders makes a pool's folders below dir, and removes what pools whose
// process has ended left there.
func openFolders(dir string) (*folders, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f := &folders{cache: filepath.Join(dir, "cache")}
	tasks := filepath.Join(dir, "tasks")
	for _, d := range []string{f.cache, tasks} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("making a folder for scratch files: %w", err)
		}
	}
	// Nobody may look for stale folders between the making and the locking of
	// a new one.
	turn, err := lockFile(filepath.Join(dir, "lock"), true)
	if err != nil {
		return nil, err
	}
	defer turn.Close()
	removeStale(tasks)
	trimCache(f.cache)
	if f.own, err = os.MkdirTemp(tasks, ""); err != nil {
		return nil, fmt.Errorf("making a folder for scratch files: %w", err)
	}
	f.lock, err = lockFile(filepath.Join(f.own, "lock"), true)
	return f, err
}

// next is the private folder of one more task; it does not exist yet.
func (f *folders) next() string {
	return filepath.Join(f.own, strconv.FormatUint(f.count.Add(1), 10))
}

func (f *folders) close() error {
	if f == nil {
		return nil
	}
	err := removeAll(f.own)
	return errors.Join(err, f.lock.Close())
}

// lockFile opens path and locks it for as long as the file is open. Without
// wait it fails when another process (or another open of ours) holds the lock.
func lockFile(path string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return f, nil
}

// removeStale is best effort: what cannot be removed now is tried next time.
func removeStale(tasks string) {
	entries, _ := os.ReadDir(tasks)
	for _, e := range entries {
		own := filepath.Join(tasks, e.Name())
		lock, err := lockFile(filepath.Join(own, "lock"), false)
		if err != nil {
			continue
		}
		killHomes(own)
		_ = removeAll(own)
		lock.Close()
	}
}

// removeAll removes a folder, also one whose program took its own right to
// write from subfolders.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// trimCache removes the oldest compiled modules beyond maxCached.
func trimCache(cache string) {
	type entry struct {
		path string
		at   int64
	}
	var all []entry
	_ = filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			all = append(all, entry{path, info.ModTime().UnixNano()})
		}
		return nil
	})
	if len(all) <= maxCached {
		return
	}
	slices.SortFunc(all, func(a, b entry) int { return int(min(max(b.at-a.at, -1), 1)) })
	for _, e := range all[maxCached:] {
		_ = os.Remove(e.path)
	}
}
