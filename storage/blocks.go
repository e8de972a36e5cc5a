package storage

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ipfs/go-datastore"

	"github.com/meshnode/meshnode/protocol"
)

// countsKey holds the counts of a store that was closed in order.
const countsKey = "counts"

// blockKey is c's name in flatfs, which takes upper-case letters and digits
// only. Blocks of one content under two codecs are two blocks: they link to
// different things.
func blockKey(c protocol.CID) datastore.Key {
	return datastore.RawKey("/" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(c)))
}

func (s *Store) stripe(c protocol.CID) int { return int(c[len(c)-1]) % stripes }

// Has reports whether the block is here.
func (s *Store) Has(ctx context.Context, c protocol.CID) (bool, error) {
	release, err := s.use()
	if err != nil {
		return false, err
	}
	defer release()
	return s.has(ctx, c)
}

func (s *Store) has(ctx context.Context, c protocol.CID) (bool, error) {
	if !c.Defined() {
		return false, nil
	}
	size, err := s.size(ctx, c)
	if errors.Is(err, datastore.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for block %s: %w", c, err)
	}
	// A power cut may leave the name of a new file without its bytes.
	return size > 0 || c.Verify(nil), nil
}

// Get returns a block. It fails with ErrNotFound. A block that was damaged on
// the disk is removed, and then is not found.
func (s *Store) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	release, err := s.use()
	if err != nil {
		return nil, err
	}
	defer release()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.Defined() {
		return nil, fmt.Errorf("a block without a name: %w", ErrNotFound)
	}
	if data := s.recent.get(c); data != nil {
		return data, nil
	}
	data, err := s.load(ctx, c)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil, fmt.Errorf("block %s: %w", c, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading block %s: %w", c, err)
	}
	if c.Verify(data) {
		s.recent.put(c, data)
		return data, nil
	}
	if err := s.remove(ctx, c); err != nil {
		return nil, fmt.Errorf("block %s was damaged on the disk and cannot be removed: %w", c, err)
	}
	return nil, fmt.Errorf("block %s was damaged on the disk and is removed: %w", c, ErrNotFound)
}

// Put keeps a block: once it has returned, the death of the process cannot
// lose it. A block that is here already costs nothing. It fails with
// ErrMismatch and ErrFull, and then leaves nothing behind.
func (s *Store) Put(ctx context.Context, c protocol.CID, data []byte) error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(data) > protocol.MaxBlock {
		return fmt.Errorf("block %s: %w: %d bytes, at most %d", c, protocol.ErrTooLarge, len(data), protocol.MaxBlock)
	}
	if !c.Verify(data) {
		return fmt.Errorf("block %s: %w", c, ErrMismatch)
	}
	lock := &s.writing[s.stripe(c)]
	lock.Lock()
	defer lock.Unlock()
	if here, err := s.has(ctx, c); err != nil || here {
		return err
	}
	if err := s.room(blockReserve); err != nil {
		return fmt.Errorf("writing block %s: %w", c, err)
	}
	if err := s.save(ctx, c, data); err != nil {
		return fmt.Errorf("writing block %s: %w", c, full(err))
	}
	s.blocks.Add(1)
	s.bytes.Add(int64(len(data)))
	s.flush.touch()
	return nil
}

// Delete removes a block; one that is not here is no error.
func (s *Store) Delete(ctx context.Context, c protocol.CID) error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	if !c.Defined() {
		return nil
	}
	return s.remove(ctx, c)
}

// remove deletes a block and forgets which DAGs were complete, since any of
// them may have held it.
func (s *Store) remove(ctx context.Context, c protocol.CID) error {
	lock := &s.writing[s.stripe(c)]
	lock.Lock()
	defer lock.Unlock()
	size, err := s.size(ctx, c)
	if errors.Is(err, datastore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing block %s: %w", c, err)
	}
	if err := s.unmark(); err != nil {
		return fmt.Errorf("removing block %s: %w", c, err)
	}
	s.recent.clear()
	if err := s.erase(ctx, c); err != nil {
		return fmt.Errorf("removing block %s: %w", c, err)
	}
	s.blocks.Add(-1)
	s.bytes.Add(-int64(size))
	return nil
}

// Stats is how many blocks there are and the sum of their sizes.
func (s *Store) Stats() (blocks, bytes int64) { return s.blocks.Load(), s.bytes.Load() }

// loadCounts takes the counts that the last Close saved. A process that was
// killed saved none, and then the blocks are counted.
func (s *Store) loadCounts() error {
	b, err := s.getInternal(countsKey)
	switch {
	case err == nil && len(b) == 16:
		s.blocks.Store(int64(binary.BigEndian.Uint64(b)))
		s.bytes.Store(int64(binary.BigEndian.Uint64(b[8:])))
		return s.deleteInternal(countsKey)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return s.count()
}

func (s *Store) saveCounts() error {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.blocks.Load()))
	return s.putInternal(countsKey, binary.BigEndian.AppendUint64(b, uint64(s.bytes.Load())))
}

func (s *Store) count() error {
	if err := s.countSmall(); err != nil {
		return err
	}
	return filepath.WalkDir(filepath.Join(s.dir, "blocks"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".temp" {
			return filepath.SkipDir
		}
		if !d.Type().IsRegular() || filepath.Ext(path) != ".data" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		s.blocks.Add(1)
		s.bytes.Add(info.Size())
		return nil
	})
}
