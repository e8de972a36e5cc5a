package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/meshnode/meshnode/protocol"
)

// Export writes the file or folder that root names to path, which must not
// exist. It writes beside path and renames at the end, so that whatever goes
// wrong leaves nothing behind. Names that would lead out of a folder are
// refused.
//
// Report, which may be nil, is called with the number of bytes written so far.
func Export(ctx context.Context, g Getter, root protocol.CID, path string, report func(bytes int64)) error {
	if err := mustNotExist(path); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".meshnode-get-")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, full(err))
	}
	defer os.RemoveAll(dir)
	ex := exporter{get: g, report: report, budget: maxEntries}
	content := filepath.Join(dir, "content")
	if err := ex.write(ctx, root, content, "", 0); err != nil {
		return fmt.Errorf("writing %s to %s: %w", describe(root), path, full(err))
	}
	if err := mustNotExist(path); err != nil {
		return err
	}
	if err := os.Rename(content, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, full(err))
	}
	return nil
}

func mustNotExist(path string) error {
	_, err := os.Lstat(path)
	if err == nil {
		return fmt.Errorf("%w: %s; name a path that does not exist, or remove it first", fs.ErrExist, path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

type exporter struct {
	get    Getter
	report func(bytes int64)
	bytes  int64
	budget int
}

// write writes what c names to path; name is its path within the root.
func (ex *exporter) write(ctx context.Context, c protocol.CID, path, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n, err := getFS(ctx, ex.get, c)
	if err != nil {
		return err
	}
	switch {
	case n.isFile():
		return ex.writeFile(&File{ctx: ctx, get: ex.get, root: span{node: n}, until: n.size}, path)
	case !n.isDir():
		return fmt.Errorf("%q is a symbolic link, which is not written: it could lead anywhere", name)
	case depth > maxNesting:
		return malformed("folders nested deeper than %d", maxNesting)
	}
	entries, err := n.entries(ctx, ex.get, &ex.budget)
	if err != nil {
		return fmt.Errorf("folder %q: %w", name, err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if err := ex.write(ctx, e.cid, filepath.Join(path, e.name), name+"/"+e.name, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (ex *exporter) writeFile(f *File, path string) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(counted{out, ex}, f)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	return err
}

// counted reports what is written.
type counted struct {
	io.Writer
	ex *exporter
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.ex.bytes += int64(n)
	if c.ex.report != nil {
		c.ex.report(c.ex.bytes)
	}
	return n, err
}
