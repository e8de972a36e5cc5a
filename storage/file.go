package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"

	"github.com/meshnode/meshnode/protocol"
)

// readAhead is how many leaves a sequential reader fetches while its caller
// works on the one before: enough to hide a round trip, little enough for many
// readers in one process.
const readAhead = 2

// maxFileDepth bounds the levels of a file: eight times what the largest file
// needs at our width.
const maxFileDepth = 64

// File reads the content of a file, block by block as it is needed. Sizes are
// checked as blocks come in: a file whose blocks do not add up ends with an
// error, not with other bytes.
type File struct {
	// The context is a field because io's interfaces have no room for one.
	// It is the caller's, and ends every read.
	ctx  context.Context
	get  Getter
	root span
	// until is where reading ahead ends.
	until int64

	offset int64        // of the next Read
	seq    *leaf        // the leaf that Read stands in
	ahead  []*fetchLeaf // begun, in the order of the file

	mu   sync.Mutex // guards what follows
	path []span     // nodes above the leaf last found, root first
	near *leaf      // that ReadAt used last: its callers come back for more
}

// span is a decoded node and the bytes of the file that it covers.
type span struct {
	node  *fsNode
	start int64
}

func (s span) end() int64 { return s.start + s.node.size }

// leaf is a run of the file's bytes.
type leaf struct {
	data  []byte
	start int64
}

func (l *leaf) holds(offset int64) bool {
	return l != nil && offset >= l.start && offset < l.start+int64(len(l.data))
}

// NewFile opens the file that root names. Reads use ctx.
func NewFile(ctx context.Context, g Getter, root protocol.CID) (*File, error) {
	n, err := getFS(ctx, g, root)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", describe(root), err)
	}
	if n.isDir() {
		return nil, fmt.Errorf("%s is a folder, not a file", root)
	}
	if !n.isFile() {
		return nil, fmt.Errorf("%s is a symbolic link, which cannot be read here", root)
	}
	return &File{ctx: ctx, get: g, root: span{node: n}, until: n.size}, nil
}

// Size is the number of bytes of the file.
func (f *File) Size() int64 { return f.root.node.size }

// ReadAheadUntil keeps a sequential reader that will stop at offset end from
// fetching what lies behind it.
func (f *File) ReadAheadUntil(end int64) { f.until = min(end, f.Size()) }

// Read implements io.Reader.
func (f *File) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	l, err := f.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, l.data[f.offset-l.start:])
	f.offset += int64(n)
	return n, nil
}

// WriteTo implements io.WriterTo.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	written := int64(0)
	for {
		l, err := f.next()
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(l.data[f.offset-l.start:])
		written += int64(n)
		f.offset += int64(n)
		if err != nil {
			return written, err
		}
	}
}

// Seek implements io.Seeker.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.Size()
	case io.SeekStart:
	default:
		return 0, fmt.Errorf("seeking: unknown origin %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("seeking before the beginning")
	}
	f.offset = offset
	return offset, nil
}

// ReadAt implements io.ReaderAt. It does not read ahead.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, errors.New("reading before the beginning")
	}
	read := 0
	for read < len(p) {
		l, err := f.at(offset + int64(read))
		if err != nil {
			return read, err
		}
		read += copy(p[read:], l.data[offset+int64(read)-l.start:])
	}
	return read, nil
}

// at is find with a memory of one leaf.
func (f *File) at(offset int64) (*leaf, error) {
	f.mu.Lock()
	l := f.near
	f.mu.Unlock()
	if l.holds(offset) {
		return l, f.ctx.Err()
	}
	l, err := f.find(offset)
	if err == nil {
		f.mu.Lock()
		f.near = l
		f.mu.Unlock()
	}
	return l, err
}

// next returns the leaf at the offset and has those after it fetched, once
// reading has gone from one leaf into the next.
func (f *File) next() (*leaf, error) {
	if f.seq.holds(f.offset) {
		return f.seq, f.ctx.Err()
	}
	sequential := f.seq != nil && f.offset == f.seq.start+int64(len(f.seq.data))
	l, err := f.fetched()
	if err != nil {
		return nil, err
	}
	if l == nil {
		if l, err = f.find(f.offset); err != nil {
			return nil, err
		}
	}
	f.seq = l
	if sequential {
		f.begin(l.start + int64(len(l.data)))
	}
	return l, nil
}

// find returns the leaf that holds offset, or io.EOF. Nodes above the last leaf
// are kept, so a sequential reader fetches each once.
func (f *File) find(offset int64) (*leaf, error) {
	if offset >= f.Size() {
		return nil, io.EOF
	}
	path := f.pathTo(offset)
	for {
		here := path[len(path)-1]
		if offset < here.start+int64(len(here.node.data)) {
			return &leaf{data: here.node.data, start: here.start}, nil
		}
		i, start := here.child(offset)
		if len(path) > maxFileDepth {
			return nil, malformed("a file deeper than %d levels", maxFileDepth)
		}
		n, err := f.fetch(here.node.links[i].cid, here.node.sizes[i])
		if err != nil {
			return nil, err
		}
		path = append(path, span{node: n, start: start})
		if len(n.links) > 0 {
			f.mu.Lock()
			f.path = path
			f.mu.Unlock()
		}
	}
}

// pathTo returns the nodes at hand that cover offset, root first.
func (f *File) pathTo(offset int64) []span {
	f.mu.Lock()
	defer f.mu.Unlock()
	path := []span{f.root}
	for _, s := range f.path[min(1, len(f.path)):] {
		if offset < s.start || offset >= s.end() {
			break
		}
		path = append(path, s)
	}
	return path
}

// child returns which link of s covers offset, and where that begins.
func (s span) child(offset int64) (int, int64) {
	i := sort.Search(len(s.node.ends), func(i int) bool { return offset < s.start+s.node.ends[i] })
	return i, s.start + s.node.ends[i] - s.node.sizes[i]
}

// fetch gets the node of a piece that has size bytes, says the node above it.
func (f *File) fetch(c protocol.CID, size int64) (*fsNode, error) {
	n, err := getFS(f.ctx, f.get, c)
	if err != nil {
		return nil, err
	}
	if !n.isFile() || n.size != size {
		return nil, malformed("%s has %d bytes, not the %d that its file needs", c, n.size, size)
	}
	return n, nil
}

// fetchLeaf is a piece that is being fetched.
type fetchLeaf struct {
	start int64
	done  chan struct{} // closed when node and err are set
	node  *fsNode
	err   error
}

// begin fetches the pieces from offset on, up to readAhead of them. Only
// siblings under the node at hand are fetched ahead; going on to the next node
// costs one wait in nodeWidth leaves.
func (f *File) begin(offset int64) {
	path := f.pathTo(offset)
	here := path[len(path)-1]
	for len(f.ahead) < readAhead {
		if n := len(f.ahead); n > 0 {
			last := f.ahead[n-1]
			if last.start >= here.end() {
				return
			}
			i, start := here.child(last.start)
			offset = start + here.node.sizes[i]
		}
		if offset >= min(here.end(), f.until) || offset < here.start+int64(len(here.node.data)) {
			return
		}
		i, start := here.child(offset)
		job := &fetchLeaf{start: start, done: make(chan struct{})}
		f.ahead = append(f.ahead, job)
		go func() {
			defer close(job.done)
			job.node, job.err = f.fetch(here.node.links[i].cid, here.node.sizes[i])
		}()
	}
}

// fetched returns the leaf at the offset if it was fetched ahead, waiting for
// it if need be. What was fetched for another offset is dropped.
func (f *File) fetched() (*leaf, error) {
	if len(f.ahead) == 0 || f.ahead[0].start != f.offset {
		f.ahead = nil
		return nil, nil
	}
	job := f.ahead[0]
	f.ahead = f.ahead[1:]
	select {
	case <-job.done:
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
	if job.err != nil {
		return nil, job.err
	}
	if len(job.node.links) > 0 { // a node over leaves; find goes down through it
		f.ahead = nil
		return nil, nil
	}
	return &leaf{data: job.node.data, start: job.start}, nil
}
