package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// cache keeps the files of programs on disk, where guests open them. Each is
// fetched once, however many tasks want it; those not used for longest go when
// there are too many.
type cache struct {
	dir, suffix string
	keep        int
	limit       int64 // bytes of one file

	mu      sync.Mutex
	cleared bool // of what an earlier process left, whole or not
	entries map[protocol.CID]*cached
	clock   int64
}

type cached struct {
	turn  chan struct{} // holds one token; its taker may fetch
	ready bool          // owned by the holder of the token
	users int           // this and the following are owned by cache.mu
	used  int64
}

func newCache(dir, suffix string, keep int, limit int64) *cache {
	return &cache{dir: dir, suffix: suffix, keep: keep, limit: limit, entries: map[protocol.CID]*cached{}}
}

// fetch returns the path of a local copy of the file that c names, which stays
// there until release is called.
func (k *cache) fetch(ctx context.Context, g *tracker, c protocol.CID) (path string, release func(), err error) {
	e, err := k.enter(c)
	if err != nil {
		return "", nil, err
	}
	select {
	case <-e.turn:
	case <-ctx.Done():
		k.leave(e)
		return "", nil, ctx.Err()
	}
	path = filepath.Join(k.dir, c.String()+k.suffix)
	if !e.ready {
		err = k.load(ctx, g, c, path)
		e.ready = err == nil
	}
	e.turn <- struct{}{}
	if err != nil {
		k.leave(e)
		return "", nil, err
	}
	return path, sync.OnceFunc(func() { k.leave(e) }), nil
}

func (k *cache) enter(c protocol.CID) (*cached, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.cleared {
		err := os.RemoveAll(k.dir)
		if err := errors.Join(err, os.MkdirAll(k.dir, 0o700)); err != nil {
			return nil, fmt.Errorf("making a folder for programs: %w", err)
		}
		k.cleared = true
	}
	e := k.entries[c]
	if e == nil {
		e = &cached{turn: make(chan struct{}, 1)}
		e.turn <- struct{}{}
		k.entries[c] = e
	}
	e.users++
	k.clock++
	e.used = k.clock
	return e, nil
}

// leave ends a use, and evicts what is too much and unused.
func (k *cache) leave(e *cached) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e.users--
	for len(k.entries) > k.keep {
		var oldest protocol.CID
		for c, e := range k.entries {
			if e.users == 0 && (!oldest.Defined() || e.used < k.entries[oldest].used) {
				oldest = c
			}
		}
		if !oldest.Defined() {
			return // all are in use: slots bound how many
		}
		delete(k.entries, oldest)
		_ = os.Remove(filepath.Join(k.dir, oldest.String()+k.suffix)) // it may never have been loaded
	}
}

// load writes the file that c names to path, whole or not at all.
func (k *cache) load(ctx context.Context, g *tracker, c protocol.CID, path string) error {
	f, err := storage.NewFile(ctx, g, c)
	if err != nil {
		return g.failure(c, err)
	}
	if f.Size() > k.limit {
		return &Failed{Kind: protocol.FailLoad, Text: fmt.Sprintf("the program's file %s has %d bytes, at most %d may", c, f.Size(), k.limit)}
	}
	temp, err := os.CreateTemp(k.dir, "new-*")
	if err != nil {
		return fmt.Errorf("writing a program's file: %w", err)
	}
	defer os.Remove(temp.Name()) // after the rename there is none
	_, err = io.Copy(temp, inputReader{r: f, failure: func(err error) error { return g.failure(c, err) }})
	if err := errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("writing a program's file: %w", err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("writing a program's file: %w", err)
	}
	return nil
}
