package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/meshnode/meshnode/protocol"
)

// Complete reports whether the whole DAG under root is here. Once it is, that
// is remembered; otherwise the walk ends at the first missing block.
func (s *Store) Complete(ctx context.Context, root protocol.CID) (bool, error) {
	missing, err := s.Missing(ctx, root, 1)
	return err == nil && len(missing) == 0, err
}

// Missing returns up to limit blocks that are not here and that root is, or
// that are linked from blocks which are here, in depth-first order. When
// there are none the DAG is complete, and that is remembered.
func (s *Store) Missing(ctx context.Context, root protocol.CID, limit int) ([]protocol.CID, error) {
	release, err := s.use()
	if err != nil {
		return nil, err
	}
	defer release()
	s.marks.Lock()
	generation := s.generation
	s.marks.Unlock()

	var missing []protocol.CID
	todo := []protocol.CID{root}
	seen := map[protocol.CID]bool{root: true}
	for len(todo) > 0 && len(missing) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		links, here, err := s.children(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("looking for what is missing of %s: %w", root, err)
		}
		if !here {
			missing = append(missing, c)
			continue
		}
		for i := len(links) - 1; i >= 0; i-- {
			if l := links[i]; !seen[l] {
				seen[l] = true
				todo = append(todo, l)
			}
		}
	}
	if len(missing) == 0 {
		err = s.mark(root, generation)
	}
	return missing, err
}

// children returns what must be here beneath c: nothing under a DAG that is
// known to be complete. Here is false when c itself is missing.
func (s *Store) children(ctx context.Context, c protocol.CID) (links []protocol.CID, here bool, err error) {
	if c.Codec() == protocol.CodecRaw {
		here, err = s.has(ctx, c)
		return nil, here, err
	}
	if _, err := s.read(spaceKey(completeSpace, string(c))); err == nil {
		return nil, true, nil
	}
	data, err := s.Get(ctx, c)
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	links, err = Links(c, data)
	return links, true, err
}

// MarkComplete remembers that the whole DAG under root is here, for a caller
// that has just seen every block of it.
func (s *Store) MarkComplete(root protocol.CID) error {
	release, err := s.use()
	if err != nil {
		return err
	}
	defer release()
	s.marks.Lock()
	generation := s.generation
	s.marks.Unlock()
	return s.mark(root, generation)
}

// mark does nothing if a block was removed since generation. A raw block needs
// no mark: looking for it is as cheap.
func (s *Store) mark(root protocol.CID, generation uint64) error {
	if root.Codec() == protocol.CodecRaw || s.room(metaReserve) != nil {
		return nil
	}
	s.marks.Lock()
	defer s.marks.Unlock()
	if s.generation != generation {
		return nil
	}
	if err := s.meta.Set(spaceKey(completeSpace, string(root)), nil, pebble.Sync); err != nil {
		return fmt.Errorf("remembering that %s is complete: %w", root, full(err))
	}
	return nil
}

// unmark forgets all marks, before a block is removed.
func (s *Store) unmark() error {
	s.marks.Lock()
	defer s.marks.Unlock()
	s.generation++
	return s.meta.DeleteRange([]byte{completeSpace}, []byte{completeSpace + 1}, pebble.Sync)
}
