package storage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Keys begin with whose they are: the users of the store, the store itself, the
// set of roots whose whole DAG is here, or small blocks.
const (
	userSpace     = 'u'
	internalSpace = 'i'
	completeSpace = 'c'
	smallSpace    = 'b' // blocks that are too small for files of their own
)

// Bounds of what users may keep by key: metadata is for small facts; content
// belongs into blocks. A manifest or a batch of receipts fits.
const (
	maxKey   = 1 << 10
	maxValue = 4 << 20
)

func spaceKey(space byte, key string) []byte { return append([]byte{space}, key...) }

// PutMeta keeps value under key: once it has returned, the death of the process
// cannot lose it; losing power within a second of it can, unless SyncMeta was
// called. It fails with ErrFull.
func (s *Store) PutMeta(key string, value []byte) error {
	if len(key) > maxKey || len(value) > maxValue {
		return fmt.Errorf("keeping %.40q: a key of %d bytes and a value of %d, at most %d and %d", key, len(key), len(value), maxKey, maxValue)
	}
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	if err := s.room(metaReserve); err != nil {
		return fmt.Errorf("keeping %q: %w", key, err)
	}
	if err := s.meta.Set(spaceKey(userSpace, key), value, pebble.Sync); err != nil {
		return fmt.Errorf("keeping %q: %w", key, full(err))
	}
	s.flush.touch()
	return nil
}

// SyncMeta returns when every value put before it is on the disk itself.
func (s *Store) SyncMeta() error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	return s.logs.sync()
}

// GetMeta returns the value under key. It fails with ErrNotFound.
func (s *Store) GetMeta(key string) ([]byte, error) {
	release, err := s.use()
	if err != nil {
		return nil, err
	}
	defer release()
	return s.read(spaceKey(userSpace, key))
}

// DeleteMeta removes key; one that is not there is no error.
func (s *Store) DeleteMeta(key string) error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	if err := s.meta.Delete(spaceKey(userSpace, key), pebble.Sync); err != nil {
		return fmt.Errorf("deleting %q: %w", key, full(err))
	}
	s.flush.touch()
	return nil
}

// ListMeta calls fn with every key that begins with prefix, in byte order, as
// they are now: what fn changes shows in the next call. The value belongs to
// fn. An error of fn ends the listing and is returned.
func (s *Store) ListMeta(prefix string, fn func(key string, value []byte) error) error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	lower := spaceKey(userSpace, prefix)
	it, err := s.meta.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(lower)})
	if err != nil {
		return fmt.Errorf("listing %q: %w", prefix, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("listing %q: %w", prefix, err)
		}
		if err := fn(string(it.Key()[1:]), bytes.Clone(value)); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("listing %q: %w", prefix, err)
	}
	return nil
}

// after is the least key that does not begin with prefix. The first byte of a
// key is never 0xff, so there is one.
func after(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; ; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
}

func (s *Store) read(key []byte) ([]byte, error) {
	value, done, err := s.meta.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, fmt.Errorf("%q: %w", key[1:], ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", key[1:], err)
	}
	defer done.Close()
	return append([]byte{}, value...), nil
}

func (s *Store) getInternal(key string) ([]byte, error) { return s.read(spaceKey(internalSpace, key)) }

func (s *Store) putInternal(key string, value []byte) error {
	if s.room(metaReserve) != nil {
		return nil // nothing internal is worth failing for: it can be computed anew
	}
	return s.meta.Set(spaceKey(internalSpace, key), value, pebble.Sync)
}

func (s *Store) deleteInternal(key string) error {
	return s.meta.Delete(spaceKey(internalSpace, key), pebble.Sync)
}
