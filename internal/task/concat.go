package task

import (
	"context"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// concat makes one file of its inputs by linking to them. Of each only the
// first block is read.
func (t *running) concat(ctx context.Context) (Output, error) {
	parts, err := t.parts(ctx)
	if err != nil {
		return Output{}, err
	}
	root, size, err := storage.Concat(ctx, t.put, parts)
	if err != nil {
		return Output{}, fmt.Errorf("joining %d files: %w", len(parts), err)
	}
	if len(parts) == 1 && size <= protocol.MaxInline && root.Codec() == protocol.CodecRaw {
		// The file is its own join, and small: whoever says that this is the
		// result should have it.
		data, err := t.get.Get(ctx, root)
		if err != nil {
			return Output{}, lost(root, err)
		}
		if err := t.put.Put(ctx, root, data); err != nil {
			return Output{}, fmt.Errorf("storing the output: %w", err)
		}
	}
	return Output{Result: root, Size: size}, nil
}

// parts are the inputs with the sizes that their own first blocks give them.
// The sizes that they were handed over with are somebody's word: what a receipt
// says of its inputs covers their CIDs alone, so that a wrong size would have
// this node sign a wrong root, and nobody could tell who was at fault.
func (t *running) parts(ctx context.Context) ([]storage.Part, error) {
	cids := t.inputs()
	t.r.cfg.Inputs.Prefetch(ctx, cids, t.w.Inputs) // one by one they would cost a round trip each
	parts := make([]storage.Part, len(cids))
	err := each(ctx, len(cids), func(ctx context.Context, i int) error {
		f, err := storage.NewFile(ctx, t.get, cids[i])
		if err != nil {
			return lost(cids[i], err)
		}
		parts[i] = storage.Part{CID: cids[i], Size: f.Size()}
		return nil
	})
	return parts, err
}
