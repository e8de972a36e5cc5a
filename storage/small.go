package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/ipfs/go-datastore"

	"github.com/meshnode/meshnode/protocol"
)

// smallBlock is up to which size a block lies in the database instead of a file
// of its own: the results of many small tasks would make a file each, at ten
// times the cost.
const smallBlock = protocol.MaxInline

func smallKey(c protocol.CID) []byte { return spaceKey(smallSpace, string(c)) }

// size is a block's size, wherever it lies; datastore.ErrNotFound of one that is
// not here.
func (s *Store) size(ctx context.Context, c protocol.CID) (int, error) {
	data, err := s.small(c)
	if err == nil {
		return len(data), nil
	}
	if !errors.Is(err, datastore.ErrNotFound) {
		return 0, err
	}
	return s.data.GetSize(ctx, blockKey(c))
}

func (s *Store) load(ctx context.Context, c protocol.CID) ([]byte, error) {
	data, err := s.small(c)
	if !errors.Is(err, datastore.ErrNotFound) {
		return data, err
	}
	return s.data.Get(ctx, blockKey(c))
}

func (s *Store) small(c protocol.CID) ([]byte, error) {
	data, err := s.read(smallKey(c))
	if errors.Is(err, ErrNotFound) {
		return nil, datastore.ErrNotFound
	}
	return data, err
}

func (s *Store) save(ctx context.Context, c protocol.CID, data []byte) error {
	if len(data) <= smallBlock {
		return s.meta.Set(smallKey(c), data, pebble.Sync)
	}
	return s.data.Put(ctx, blockKey(c), data)
}

func (s *Store) erase(ctx context.Context, c protocol.CID) error {
	if err := s.meta.Delete(smallKey(c), pebble.Sync); err != nil {
		return err
	}
	err := s.data.Delete(ctx, blockKey(c))
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	return err
}

// countSmall adds the small blocks to the counts.
func (s *Store) countSmall() error {
	lower := []byte{smallSpace}
	it, err := s.meta.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: after(lower)})
	if err != nil {
		return fmt.Errorf("counting small blocks: %w", err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("counting small blocks: %w", err)
		}
		s.blocks.Add(1)
		s.bytes.Add(int64(len(value)))
	}
	return it.Error()
}
