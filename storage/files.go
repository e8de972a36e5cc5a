package storage

import (
	"context"
	"fmt"
	"sort"

	"github.com/meshnode/meshnode/protocol"
)

// Info describes what a root is.
type Info struct {
	Dir   bool
	Size  int64 // bytes of content of all files
	Files int
}

// Stat looks at the file or folder that root names.
func Stat(ctx context.Context, g Getter, root protocol.CID) (Info, error) {
	n, err := getFS(ctx, g, root)
	if err != nil {
		return Info{}, err
	}
	info := Info{Dir: n.isDir()}
	err = Files(ctx, g, root, func(_ string, _ protocol.CID, size int64) error {
		info.Files++
		if info.Size += size; info.Size < 0 {
			return malformed("%s: sizes beyond all bounds", root)
		}
		return nil
	})
	return info, err
}

// Files visits every file under root in the byte order of whole paths, so that
// "a-b" comes before "a/x", and that before "ab". A root that is a file itself
// is visited with the path "". Sizes are what the nodes claim: a File checks
// them as it is read.
func Files(ctx context.Context, g Getter, root protocol.CID, visit func(path string, file protocol.CID, size int64) error) error {
	w := fileWalk{get: g, visit: visit, budget: maxEntries}
	if err := w.walk(ctx, "", pbLink{cid: root}, 0); err != nil {
		return fmt.Errorf("listing the files of %s: %w", describe(root), err)
	}
	return nil
}

type fileWalk struct {
	get    Getter
	visit  func(path string, file protocol.CID, size int64) error
	budget int
}

// child is an entry of a folder whose kind is known. Its node is not kept: a
// folder may have very many.
type child struct {
	link pbLink
	dir  bool
	size int64
}

func (w *fileWalk) walk(ctx context.Context, path string, link pbLink, depth int) error {
	c, n, err := w.look(ctx, link)
	if err != nil {
		return err
	}
	if !c.dir {
		return w.visit(path, link.cid, c.size)
	}
	return w.folder(ctx, path, n, depth)
}

func (w *fileWalk) folder(ctx context.Context, path string, n *fsNode, depth int) error {
	if depth > maxNesting {
		return malformed("folders nested deeper than %d", maxNesting)
	}
	links, err := n.entries(ctx, w.get, &w.budget)
	if err != nil {
		return fmt.Errorf("folder %q: %w", path, err)
	}
	children := make([]child, len(links))
	for i, l := range links {
		if children[i], _, err = w.look(ctx, l); err != nil {
			return fmt.Errorf("entry %q of folder %q: %w", l.name, path, err)
		}
	}
	sort.Slice(children, func(i, j int) bool { return children[i].key() < children[j].key() })
	for _, c := range children {
		if err := ctx.Err(); err != nil {
			return err
		}
		below := c.link.name
		if path != "" {
			below = path + "/" + below
		}
		if c.dir {
			err = w.walk(ctx, below, c.link, depth+1)
		} else {
			err = w.visit(below, c.link.cid, c.size)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// key orders the entries of a folder as the paths beneath them are ordered.
func (c child) key() string {
	if c.dir {
		return c.link.name + "/"
	}
	return c.link.name
}

// look finds out what an entry is. A raw block is a file, and its size stands
// beside its name, so it need not be fetched.
func (w *fileWalk) look(ctx context.Context, l pbLink) (child, *fsNode, error) {
	if l.cid.Codec() == protocol.CodecRaw && l.total > 0 && l.total <= protocol.MaxBlock {
		return child{link: l, size: int64(l.total)}, nil, nil
	}
	n, err := getFS(ctx, w.get, l.cid)
	if err != nil {
		return child{}, nil, err
	}
	if !n.isDir() && !n.isFile() {
		return child{}, nil, fmt.Errorf("%s is a symbolic link, which cannot be read here", l.cid)
	}
	return child{link: l, dir: n.isDir(), size: n.size}, n, nil
}
