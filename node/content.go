package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/exchange"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// Add imports the file or folder at path and returns when min(r, live) nodes
// hold every block.
func (n *Node) Add(ctx context.Context, path string, progress Progress) (Added, error) {
	imported, err := storage.Import(ctx, n.store, path, reporter(progress))
	if err != nil {
		return Added{}, err
	}
	copies, err := n.place(ctx, string(imported.Root), []protocol.CID{imported.Root}, protocol.DefaultCopies)
	if err != nil {
		return Added{}, fmt.Errorf("copying %s to other nodes: %w", imported.Root, err)
	}
	return Added{CID: imported.Root, Bytes: imported.Bytes, Files: imported.Files, Copies: copies}, nil
}

// Cat writes the file that c names to w, fetching what is not here. It fails
// with ErrNotFound and, for a folder, ErrInput.
func (n *Node) Cat(ctx context.Context, c protocol.CID, w io.Writer) error {
	get := n.anywhere(ctx, []protocol.CID{c})
	stat, err := storage.Stat(ctx, get, c)
	if err != nil {
		return notFound(c, err)
	}
	if stat.Dir {
		return fmt.Errorf("%w: %s is a folder; fetch it with get", ErrInput, c)
	}
	file, err := storage.NewFile(ctx, get, c)
	if err != nil {
		return notFound(c, err)
	}
	if _, err := file.WriteTo(w); err != nil {
		return notFound(c, err)
	}
	return nil
}

// Get writes the file or folder that c names to path, which must not exist.
// It fails with ErrNotFound.
func (n *Node) Get(ctx context.Context, c protocol.CID, path string, progress Progress) error {
	get := n.anywhere(ctx, []protocol.CID{c})
	report := func(int64) {}
	if progress != nil {
		stat, err := storage.Stat(ctx, get, c)
		if err != nil {
			return notFound(c, err)
		}
		report = func(done int64) { progress(done, stat.Size) }
	}
	if err := storage.Export(ctx, get, c, path, report); err != nil {
		return notFound(c, err)
	}
	return nil
}

// anywhere reads blocks of DAGs from this node, from the nodes that hold one
// of them whole, then from any other.
func (n *Node) anywhere(ctx context.Context, roots []protocol.CID) storage.Getter {
	var named []peer.ID
	for _, root := range roots {
		if whole, err := n.store.Complete(ctx, root); err != nil || !whole {
			named = append(named, n.Holders(ctx, root)...)
		}
	}
	return n.exchange.Getter(func(context.Context, protocol.CID) []peer.ID { return n.sources(named) })
}

func isNotFound(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, storage.ErrNotFound) || errors.Is(err, exchange.ErrUnavailable)
}

// notFound makes the one error that callers tell apart of the several ways not
// to find a block.
func notFound(c protocol.CID, err error) error {
	if isNotFound(err) && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %s", ErrNotFound, c)
	}
	return err
}
