package storage

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Sizes of the metadata database. A test mesh keeps 50 of them in one process,
// and an idle node has a budget of 60 MiB for everything.
const (
	memTableBytes = 512 << 10
	cacheBytes    = 4 << 20
	testCache     = 1 << 20 // of a test mesh's stores
	filterBits    = 10      // a key: one lookup in a hundred of what is not there reads the disk
	openTables    = 32
)

// openMeta opens the database. Pebble is used directly, not as a datastore: the
// latter rewrites keys that look like paths.
func openMeta(dir string, volatile bool) (*pebble.DB, *lazyFS, error) {
	size := int64(cacheBytes)
	if volatile {
		size = testCache
	}
	cache := pebble.NewCache(size)
	defer cache.Unref() // the database holds it
	logs := &lazyFS{FS: vfs.Default, volatile: volatile, open: map[*lazyFile]struct{}{}}
	db, err := pebble.Open(dir, &pebble.Options{
		FS:                          logs,
		Cache:                       cache,
		MemTableSize:                memTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                openTables,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 1 },
		DisableTableStats:           true, // a background job that only tunes compactions
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      quiet{},
		Levels:                      filtered(),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("opening the metadata: %w", err)
	}
	return db, logs, nil
}

// filtered has every table say quickly what is not in it: most blocks that are
// asked for are not here.
func filtered() (levels [7]pebble.LevelOptions) {
	for i := range levels {
		levels[i].FilterPolicy = bloom.FilterPolicy(filterBits)
	}
	return levels
}

// quiet is pebble's log. What concerns a caller is returned as an error; a
// broken invariant must end the process, as pebble expects.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic("storage: the metadata database cannot go on: " + fmt.Sprintf(format, args...))
}

// lazyFS makes the database's log survive the death of the process without the
// cost of an fsync for each write. Pebble either keeps a record in its own
// memory for a while (NoSync) or waits for fsync (Sync); so every write asks
// for Sync, and the log's fsync does nothing until sync is called.
type lazyFS struct {
	vfs.FS
	volatile bool // nothing is ever synced
	mu       sync.Mutex
	open     map[*lazyFile]struct{} // logs that are being written
}

func (l *lazyFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.Create(name, category)
	return l.wrap(name, f, err)
}

func (l *lazyFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := l.FS.ReuseForWrite(oldname, newname, category)
	return l.wrap(newname, f, err)
}

func (l *lazyFS) OpenDir(name string) (vfs.File, error) {
	f, err := l.FS.OpenDir(name)
	if err != nil || !l.volatile {
		return f, err
	}
	return &unsynced{f}, nil
}

// Unwrap lets pebble find the file system beneath.
func (l *lazyFS) Unwrap() vfs.FS { return l.FS }

func (l *lazyFS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	switch {
	case err != nil:
		return nil, err
	case l.volatile:
		return &unsynced{f}, nil
	case !strings.HasSuffix(name, ".log"):
		return f, nil
	}
	lazy := &lazyFile{unsynced: unsynced{f}, fs: l}
	l.mu.Lock()
	l.open[lazy] = struct{}{}
	l.mu.Unlock()
	return lazy, nil
}

// sync brings all logs to the disk.
func (l *lazyFS) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.open {
		if err := f.File.SyncData(); err != nil {
			return fmt.Errorf("syncing the metadata: %w", full(err))
		}
	}
	return nil
}

// unsynced is a file that is never synced.
type unsynced struct{ vfs.File }

func (*unsynced) Sync() error                { return nil }
func (*unsynced) SyncData() error            { return nil }
func (*unsynced) SyncTo(int64) (bool, error) { return false, nil }

// lazyFile is a log.
type lazyFile struct {
	unsynced
	fs *lazyFS
}

// Close brings the log to the disk first: pebble takes a log that is not the
// newest for damaged unless it is whole.
func (f *lazyFile) Close() error {
	f.fs.mu.Lock()
	delete(f.fs.open, f)
	f.fs.mu.Unlock()
	err := f.File.SyncData()
	if cerr := f.File.Close(); err == nil {
		err = cerr
	}
	return err
}

var _ vfs.FS = (*lazyFS)(nil)

// syncAll brings blocks and logs to the disk.
func (s *Store) syncAll() {
	// Failing costs durability against loss of power only, and the next
	// write will meet the same disk and report it.
	_ = s.logs.sync()
	if dir, err := os.Open(s.dir); err == nil {
		_ = syncDisk(dir)
		_ = dir.Close()
	}
}
