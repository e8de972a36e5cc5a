package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

func TestFileReads(t *testing.T) {
	m := newMemory()
	for _, size := range []int{0, 1, 10, 11, 5000} {
		data := noise(1, size)
		f, err := NewFile(t.Context(), m, chunked(t, m, data, 10))
		ok(t, err)
		equal(t, "size", f.Size(), int64(size))
		ok(t, iotest.TestReader(f, data)) // Read, ReadAt, Seek
		_, err = f.Seek(0, io.SeekStart)
		ok(t, err)
		var out bytes.Buffer
		_, err = f.WriteTo(&out)
		ok(t, err)
		if !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("size %d: other bytes", size)
		}
	}
}

// TestFileAgainstBytes reads here and there, sequentially and not, from files
// whose nodes have bytes of their own as well.
func TestFileAgainstBytes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newMemory()
		var data []byte
		root := drawFile(r, t, m, &data, 3)
		f, err := NewFile(t.Context(), m, root.cid)
		ok(t, err)
		want := bytes.NewReader(data)
		for range rapid.IntRange(1, 20).Draw(r, "reads") {
			n := rapid.IntRange(0, 40).Draw(r, "n")
			at := rapid.Int64Range(0, int64(len(data))+3).Draw(r, "at")
			got, expected := make([]byte, n), make([]byte, n)
			switch rapid.IntRange(0, 2).Draw(r, "how") {
			case 0:
				_, _ = f.Seek(at, io.SeekStart)
				_, _ = want.Seek(at, io.SeekStart)
			case 1:
				a, aerr := f.ReadAt(got, at)
				b, berr := want.ReadAt(expected, at)
				if n > 0 && (a != b || !errors.Is(aerr, berr)) {
					r.Fatalf("ReadAt(%d, %d): %d %v, want %d %v", n, at, a, aerr, b, berr)
				}
			default:
				a, aerr := io.ReadFull(f, got)
				b, berr := io.ReadFull(want, expected)
				if a != b || !errors.Is(aerr, berr) {
					r.Fatalf("Read(%d): %d %v, want %d %v", n, a, aerr, b, berr)
				}
			}
			if !bytes.Equal(got, expected) {
				r.Fatalf("got %q, want %q", got, expected)
			}
		}
	})
}

// drawFile stores a file of any shape and appends its content to data.
func drawFile(r *rapid.T, t *testing.T, m *memory, data *[]byte, depth int) pbLink {
	if depth == 0 || rapid.Bool().Draw(r, "leaf") {
		b := rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(r, "bytes")
		*data = append(*data, b...)
		leaf, err := putLeaf(t.Context(), m, b)
		ok(t, err)
		return leaf.link
	}
	n := fsNode{kind: kindFile}
	for range rapid.IntRange(0, 4).Draw(r, "children") {
		before := len(*data)
		link := drawFile(r, t, m, data, depth-1)
		n.links = append(n.links, link)
		n.sizes = append(n.sizes, int64(len(*data)-before))
		n.size += int64(len(*data) - before)
	}
	link, err := putNode(t.Context(), m, &n)
	ok(t, err)
	return link
}

func TestFileReadsAheadOnlyWhatIsNeeded(t *testing.T) {
	m := newMemory()
	data := noise(2, 1000)
	f, err := NewFile(t.Context(), m, chunked(t, m, data, 10))
	ok(t, err)
	m.gets = nil
	_, err = f.ReadAt(make([]byte, 5), 500)
	ok(t, err)
	equal(t, "blocks for one piece", len(m.gets), 1)
	f.ReadAheadUntil(40)
	_, err = io.ReadFull(f, make([]byte, 40))
	ok(t, err)
	equal(t, "blocks for four more", len(m.gets), 5)
}

func TestLyingFilesEndWithAnError(t *testing.T) {
	m := newMemory()
	leaf, err := putLeaf(t.Context(), m, []byte("hello"))
	ok(t, err)
	file := func(size int64, sizes ...int64) *fsNode {
		n := &fsNode{kind: kindFile, size: size, sizes: sizes}
		for range sizes {
			n.links = append(n.links, leaf.link)
		}
		return n
	}
	tooDeep := leaf.link.cid
	for range maxFileDepth + 1 {
		n := file(5, 5)
		n.links[0].cid = tooDeep
		tooDeep = m.node(t, n)
	}
	folder := m.node(t, &fsNode{kind: kindDirectory})
	overFolder := file(0, 0, 5)
	overFolder.links[0].cid, overFolder.size = folder, 5
	overFolder.sizes[0] = 3
	overFolder.size = 8
	few := file(5, 5)
	few.sizes = nil
	for name, c := range map[string]protocol.CID{
		"a leaf that is shorter":   m.node(t, file(6, 6)),
		"a leaf that is longer":    m.node(t, file(4, 4)),
		"sizes that do not add up": m.node(t, file(1<<40, 5)),
		"sizes that overflow":      m.node(t, file(5, math.MaxInt64, math.MaxInt64, 7)),
		"links without sizes":      m.node(t, few),
		"too deep":                 tooDeep,
		"a folder inside":          m.node(t, overFolder),
		"a folder":                 folder,
		"a symbolic link":          m.node(t, &fsNode{kind: kindSymlink}),
		"an unknown kind":          m.node(t, &fsNode{kind: 9}),
		"a missing block":          raw([]byte("missing")),
		"a document":               protocol.NewCID(protocol.CodecDagCBOR, nil),
		"nothing":                  "",
	} {
		f, err := NewFile(t.Context(), m, c)
		if err == nil {
			_, err = io.Copy(io.Discard, f)
		}
		if err == nil {
			t.Errorf("%s: read to its end", name)
		}
	}
}

func TestCancelledReadEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	m := newMemory()
	c := chunked(t, m, noise(3, 100), 10)
	ctx, cancel := context.WithCancel(t.Context())
	slow := &blocking{memory: m, free: 3}
	f, err := NewFile(ctx, slow, c)
	ok(t, err)
	_, err = io.ReadFull(f, make([]byte, 15))
	ok(t, err)
	cancel()
	if _, err := io.Copy(io.Discard, f); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// blocking answers so many reads and then none until the context ends.
type blocking struct {
	*memory
	mu   sync.Mutex
	free int
}

func (b *blocking) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	b.mu.Lock()
	b.free--
	wait := b.free < 0
	b.mu.Unlock()
	if wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return b.memory.Get(ctx, c)
}
