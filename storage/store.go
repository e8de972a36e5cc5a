package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	flatfs "github.com/ipfs/go-ds-flatfs"

	"github.com/meshnode/meshnode/protocol"
)

// Errors that callers may want to tell apart.
var (
	// ErrInUse: another process, or another Store, has the directory open.
	ErrInUse = errors.New("in use by another process")
	// ErrNotFound: the block or key is not in this store.
	ErrNotFound = errors.New("not in this store")
	// ErrFull: the disk has no room left, or the user's quota is used up.
	ErrFull = errors.New("the disk is full: free some space, or use a directory on another disk")
	// ErrMismatch: the bytes are not what the CID names.
	ErrMismatch = errors.New("the bytes are not what the CID names")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// Getter finds a block by its name. What it returns has been checked against
// the CID and must not be changed.
type Getter interface {
	Get(ctx context.Context, c protocol.CID) ([]byte, error)
}

// Putter keeps a block. It does not keep data itself once it has returned.
type Putter interface {
	Put(ctx context.Context, c protocol.CID, data []byte) error
}

// stripes is how many locks guard writes of blocks: two writers of one block
// wait for each other, so that it is counted once.
const stripes = 64

// Store keeps blocks and facts in a directory.
type Store struct {
	dir   string
	lock  *os.File
	data  *flatfs.Datastore
	meta  *pebble.DB
	logs  *lazyFS // under meta
	flush *flusher

	blocks, bytes atomic.Int64
	recent        recent

	writing [stripes]sync.Mutex // of blocks, by the last byte of their CID

	marks      sync.Mutex // orders marks of completeness and removals
	generation uint64     // counts removals; guarded by marks

	life    sync.Mutex
	closed  bool           // guarded by life
	uses    sync.WaitGroup // calls under way; only grows under life, before closed
	closing sync.Once
	result  error // of closing
}

// Config configures a store. The zero value of a field means its default.
type Config struct {
	Dir string // required
	// Volatile leaves it to the system when writes reach the disk itself. It
	// is for stores that end with their process, as those of a test mesh:
	// files that are removed before they reach the disk cost next to nothing.
	Volatile bool
}

// Open opens the store in dir and creates it if needed. It fails with ErrInUse
// while another process has it open; that ends with the process, however it
// dies.
func Open(dir string) (*Store, error) { return OpenConfig(Config{Dir: dir}) }

// OpenConfig is Open with further choices.
func OpenConfig(cfg Config) (*Store, error) {
	s := &Store{dir: cfg.Dir}
	if err := s.open(cfg.Volatile); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("opening the store in %s: %w", cfg.Dir, full(err))
	}
	return s, nil
}

func (s *Store) open(volatile bool) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	var err error
	if s.lock, err = lockFile(filepath.Join(s.dir, "store.lock")); err != nil {
		return err
	}
	if err := s.room(openReserve); err != nil {
		return err
	}
	// Two characters next to the last give 1,024 folders: a million blocks
	// make a thousand files in each.
	s.data, err = flatfs.CreateOrOpen(filepath.Join(s.dir, "blocks"), flatfs.NextToLast(2), false)
	if err != nil {
		return err
	}
	if s.meta, s.logs, err = openMeta(filepath.Join(s.dir, "meta"), volatile); err != nil {
		return err
	}
	s.flush = newFlusher(s.syncAll)
	if volatile {
		s.flush.stop()
	}
	return s.loadCounts()
}

// Close writes everything to the disk and releases the directory. It waits for
// calls that are under way; calls after it fail with ErrClosed. It may be
// called twice.
func (s *Store) Close() error {
	s.closing.Do(func() { s.result = s.close() })
	return s.result
}

func (s *Store) close() error {
	s.life.Lock()
	s.closed = true
	s.life.Unlock()
	s.uses.Wait()
	var errs []error
	if s.flush != nil {
		s.flush.stop()
		errs = append(errs, s.saveCounts())
	}
	if s.meta != nil {
		errs = append(errs, s.meta.Close())
	}
	if s.data != nil {
		errs = append(errs, s.data.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the store in %s: %w", s.dir, full(err))
	}
	return nil
}

// use keeps the store open until release is called. Uses may nest.
func (s *Store) use() (release func(), err error) {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.uses.Add(1)
	return s.uses.Done, nil
}

// Spool returns an empty file for bytes that do not fit in memory. It has no
// name any more, so closing it, or the death of the process, frees its space.
func (s *Store) Spool() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, "spool-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary file: %w", full(err))
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("making a temporary file: %w", err)
	}
	return f, nil
}
