package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/exchange"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// Add imports the file or folder at path and returns when min(r, live) nodes
// hold every block.
func (n *Node) Add(ctx context.Context, path string, progress Progress) (Added, error) {
	imported, err := n.importPath(ctx, path, progress)
	if err != nil {
		return Added{}, err
	}
	copies, err := n.place(ctx, string(imported.Root), []protocol.CID{imported.Root}, protocol.DefaultCopies)
	if err != nil {
		return Added{}, fmt.Errorf("copying %s to other nodes: %w", imported.Root, err)
	}
	return Added{CID: imported.Root, Bytes: imported.Bytes, Files: imported.Files, Copies: copies}, nil
}

// importPath imports a file or folder. What fails, or is given up, leaves none
// of its blocks behind, so that a file too large for the disk does not fill it.
func (n *Node) importPath(ctx context.Context, path string, progress Progress) (storage.Imported, error) {
	fresh := &freshBlocks{store: n.store}
	imported, err := storage.Import(ctx, fresh, path, reporter(progress))
	if err == nil {
		return imported, nil
	}
	for _, c := range fresh.cids {
		if e := n.store.Delete(context.WithoutCancel(ctx), c); e != nil {
			n.log.Warn("block of a failed import not removed", "cid", c, "error", e)
		}
	}
	return imported, err
}

// freshBlocks keeps blocks, and notes which of them are new here.
type freshBlocks struct {
	store *storage.Store
	mu    sync.Mutex
	cids  []protocol.CID
}

func (f *freshBlocks) Put(ctx context.Context, c protocol.CID, data []byte) error {
	had, err := f.store.Has(ctx, c)
	if err != nil {
		return err
	}
	if err := f.store.Put(ctx, c, data); err != nil || had {
		return err
	}
	f.mu.Lock()
	f.cids = append(f.cids, c)
	f.mu.Unlock()
	return nil
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
