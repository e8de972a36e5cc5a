package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/meshnode/meshnode/protocol"
)

// Imported is what came of importing a file or folder.
type Imported struct {
	Root  protocol.CID
	Bytes int64
	Files int
}

// Import stores the file or folder at path. Only content and names are kept,
// so equal trees give equal roots, which are those of Kubo's profile
// unixfs-v1-2025. Inside a folder only files and folders can be stored:
// anything else, a symbolic link too, is an error that names it. A path that is
// itself a symbolic link is followed.
//
// Report, which may be nil, is called with the number of bytes stored so far,
// by one goroutine at a time.
func Import(ctx context.Context, p Putter, path string, report func(bytes int64)) (Imported, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Imported{}, err
	}
	group, scanning := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	im := importer{put: p, group: group, report: report}
	tree, err := im.scan(scanning, path, fs.FileInfoToDirEntry(info), 0)
	// The workers' error comes first: it is why scanning ended.
	if werr := group.Wait(); werr != nil {
		return Imported{}, werr
	}
	if err != nil {
		return Imported{}, err
	}
	root, err := im.build(ctx, tree)
	if err != nil {
		return Imported{}, fmt.Errorf("importing %s: %w", path, err)
	}
	return Imported{Root: root.cid, Bytes: im.bytes, Files: im.files}, nil
}

// importer stores the leaves of files on a bounded number of workers while it
// scans; then it builds the nodes above them.
type importer struct {
	put    Putter
	group  *errgroup.Group
	files  int // of the scanning goroutine
	mu     sync.Mutex
	bytes  int64 // guarded by mu
	report func(bytes int64)
}

// entry is a file or folder that was scanned.
type entry struct {
	name     string
	children []*entry // of a folder, by name
	dir      bool
	leaves   []piece // of a file; each is written by one worker
}

// scan lists what is at path and gives the chunks of its files to the workers.
func (im *importer) scan(ctx context.Context, path string, d fs.DirEntry, depth int) (*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e := &entry{name: d.Name(), dir: d.IsDir()}
	switch {
	case d.IsDir():
		if depth > maxNesting {
			return nil, fmt.Errorf("importing %s: folders nested deeper than %d", path, maxNesting)
		}
		return e, im.scanFolder(ctx, e, path, depth)
	case d.Type().IsRegular():
		return e, im.scanFile(ctx, e, path)
	}
	return nil, fmt.Errorf("importing %s: it is %s; only files and folders can be stored, so remove it or copy what it stands for", path, kindOf(d.Type()))
}

func kindOf(t fs.FileMode) string {
	switch {
	case t&fs.ModeSymlink != 0:
		return "a symbolic link"
	case t&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case t&fs.ModeSocket != 0:
		return "a socket"
	case t&fs.ModeDevice != 0:
		return "a device"
	}
	return "of an unknown kind"
}

func (im *importer) scanFolder(ctx context.Context, e *entry, path string, depth int) error {
	children, err := os.ReadDir(path) // by name
	if err != nil {
		return err
	}
	for _, d := range children {
		below := filepath.Join(path, d.Name())
		if !plainName(d.Name()) {
			return fmt.Errorf("importing %q: no other system takes such a name; rename it", below)
		}
		child, err := im.scan(ctx, below, d, depth+1)
		if err != nil {
			return err
		}
		e.children = append(e.children, child)
	}
	return nil
}

// scanFile cuts a file into chunks. Its size is taken once: a file that
// changes meanwhile is an error, since nobody could say what was stored.
func (im *importer) scanFile(ctx context.Context, e *entry, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	im.files++
	size := info.Size()
	chunks := max(1, (size+ChunkSize-1)/ChunkSize)
	e.leaves = make([]piece, chunks)
	file := &sharedFile{path: path}
	file.users.Store(chunks)
	for i := range chunks {
		offset := i * ChunkSize
		length := min(ChunkSize, size-offset)
		last := i == chunks-1
		im.group.Go(func() error {
			defer file.release()
			leaf, err := im.chunk(ctx, file, offset, length, last)
			if err != nil {
				return fmt.Errorf("importing %s: %w", path, err)
			}
			e.leaves[i] = leaf
			return nil
		})
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// chunk stores length bytes of a file.
func (im *importer) chunk(ctx context.Context, file *sharedFile, offset, length int64, last bool) (piece, error) {
	if err := ctx.Err(); err != nil {
		return piece{}, err
	}
	f, err := file.open()
	if err != nil {
		return piece{}, err
	}
	want := length
	if last {
		want++ // one more than there should be shows that the file has grown
	}
	buf := make([]byte, want)
	n, err := f.ReadAt(buf, offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return piece{}, err
	}
	if int64(n) != length {
		return piece{}, errors.New("the file changed while it was read; try again when nothing writes to it")
	}
	leaf, err := putLeaf(ctx, im.put, buf[:n])
	if err != nil {
		return piece{}, err
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.bytes += length
	if im.report != nil {
		im.report(im.bytes)
	}
	return leaf, nil
}

// build stores the nodes above the leaves of e, and returns the link to it.
func (im *importer) build(ctx context.Context, e *entry) (pbLink, error) {
	if err := ctx.Err(); err != nil {
		return pbLink{}, err
	}
	if !e.dir {
		file, err := balance(ctx, im.put, e.leaves)
		file.link.name = e.name
		return file.link, err
	}
	links := make([]pbLink, len(e.children))
	for i, c := range e.children {
		var err error
		if links[i], err = im.build(ctx, c); err != nil {
			return pbLink{}, err
		}
	}
	folder, err := putDirectory(ctx, im.put, links)
	folder.name = e.name
	return folder, err
}

// sharedFile is opened by the first worker that reads it and closed by the
// last.
type sharedFile struct {
	path  string
	users atomic.Int64
	once  sync.Once
	file  *os.File
	err   error
}

func (s *sharedFile) open() (*os.File, error) {
	s.once.Do(func() { s.file, s.err = os.Open(s.path) })
	return s.file, s.err
}

func (s *sharedFile) release() {
	if s.users.Add(-1) == 0 {
		s.once.Do(func() { s.err = fs.ErrClosed })
		if s.file != nil {
			_ = s.file.Close()
		}
	}
}
