package storage

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"

	"github.com/meshnode/meshnode/protocol"
)

func TestLinks(t *testing.T) {
	a, b := raw([]byte("a")), raw([]byte("b"))
	doc := protocol.Encode(map[string]any{"x": []any{a, 1, "text", nil, true, 1.5, []byte{1}}, "y": map[string]protocol.CID{"z": b}})
	links, err := Links(protocol.NewCID(protocol.CodecDagCBOR, doc), doc)
	ok(t, err)
	equal(t, "links", len(links), 2)
	equal(t, "first", links[0], a)
	equal(t, "second", links[1], b)
	links, err = Links(raw(doc), doc)
	ok(t, err)
	equal(t, "links of raw bytes", len(links), 0)

	deep := append(bytes.Repeat([]byte{0x81}, maxNesting+1), 0)
	for name, data := range map[string][]byte{
		"empty":               {},
		"two documents":       {0, 0},
		"cut":                 doc[:len(doc)-1],
		"a list of 2^40":      {0x9b, 0, 0, 1, 0, 0, 0, 0, 0},
		"a text of 2^62":      {0x7b, 0x40, 0, 0, 0, 0, 0, 0, 0},
		"an indefinite list":  {0x9f, 0, 0xff},
		"a link to nothing":   {0xd8, 0x2a, 0x41, 0},
		"a link to text":      {0xd8, 0x2a, 0x61, 'x'},
		"a CIDv0":             append([]byte{0xd8, 0x2a, 0x58, 35, 0, 0x12, 0x20}, make([]byte, 32)...),
		"deeper than allowed": deep,
	} {
		if _, err := Links(protocol.NewCID(protocol.CodecDagCBOR, data), data); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := Links("", nil); err == nil {
		t.Error("nothing has links")
	}
}

func TestWalkVisitsParentsFirstAndEachOnce(t *testing.T) {
	m := newMemory()
	leaf := protocol.Encode("leaf")
	l := protocol.NewCID(protocol.CodecDagCBOR, leaf)
	ok(t, m.Put(t.Context(), l, leaf))
	mid, _, err := PutDoc(t.Context(), m, []protocol.CID{l, l})
	ok(t, err)
	root, _, err := PutDoc(t.Context(), m, []protocol.CID{mid, l, mid})
	ok(t, err)
	var got []protocol.CID
	ok(t, Walk(t.Context(), m, root, func(c protocol.CID, _ []byte) error {
		got = append(got, c)
		return nil
	}))
	equal(t, "blocks", len(got), 3)
	equal(t, "first", got[0], root)
	var doc []protocol.CID
	ok(t, GetDoc(t.Context(), m, mid, &doc))
	equal(t, "links read back", len(doc), 2)
	if err := GetDoc(t.Context(), m, raw(leaf), &doc); err == nil {
		t.Error("raw bytes were taken for a document")
	}
}

// FuzzLinks feeds anything to the decoders of blocks. What boxo takes for a
// dag-pb node with links of our kinds, we take with the same links.
func FuzzLinks(f *testing.F) {
	m := newMemory()
	dir := m.folder(f, map[string][]byte{"a": nil, "b": []byte("x")})
	f.Add(m.blocks[dir])
	f.Add(m.blocks[chunked(f, m, noise(1, 100), 10)])
	f.Add(protocol.Encode(map[string]protocol.CID{"x": dir}))
	f.Add([]byte{0x0a, 0x00, 0x12, 0x00})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, codec := range []uint64{protocol.CodecRaw, protocol.CodecDagPB, protocol.CodecDagCBOR} {
			links, err := Links(protocol.NewCID(codec, data), data)
			if err == nil && len(links) > len(data) {
				t.Fatalf("%d links in %d bytes", len(links), len(data))
			}
		}
		c := protocol.NewCID(protocol.CodecDagPB, data)
		links, err := Links(c, data)
		theirs, theirErr := merkledag.DecodeProtobuf(data)
		if err == nil && theirErr != nil {
			t.Fatalf("boxo refuses it: %v", theirErr)
		}
		if err == nil && len(theirs.Links()) != len(links) {
			t.Fatalf("%d links, boxo sees %d", len(links), len(theirs.Links()))
		}
		readEverything(t, c, data)
	})
}

// readEverything uses a block as all that it could be.
func readEverything(t *testing.T, c protocol.CID, data []byte) {
	m := newMemory()
	m.blocks[c] = data
	for _, part := range []string{"", "x"} {
		m.blocks[raw([]byte(part))] = []byte(part)
	}
	ctx := context.Background()
	_, _ = Stat(ctx, m, c)
	_, _ = Parts(ctx, m, c, 3)
	_ = Files(ctx, m, c, func(path string, _ protocol.CID, size int64) error {
		if size < 0 || path != "" && !filepath.IsLocal(path) {
			t.Fatalf("a file %q of %d bytes", path, size)
		}
		return nil
	})
	if f, err := NewFile(ctx, m, c); err == nil && f.Size() < 1<<20 {
		var out bytes.Buffer
		if n, err := f.WriteTo(&out); err == nil && n != f.Size() {
			t.Fatalf("a file of %d bytes gave %d", f.Size(), n)
		}
	}
}

// FuzzSplits feeds anything to the readers of split tables.
func FuzzSplits(f *testing.F) {
	m := newMemory()
	table, _, err := PlanSplits(f.Context(), m, m, []protocol.CID{m.add(f, noise(1, 100))}, 30)
	ok(f, err)
	f.Add(m.blocks[table], 0)
	f.Add(protocol.Encode(protocol.SplitTable{Count: 1 << 40, Pages: []protocol.CID{table}}), 1)
	f.Fuzz(func(t *testing.T, data []byte, index int) {
		c := protocol.NewCID(protocol.CodecDagCBOR, data)
		m := newMemory()
		m.blocks[c] = data
		ranges, err := ReadSplit(context.Background(), m, c, index)
		if err == nil && len(ranges) > len(data) {
			t.Fatalf("%d ranges in %d bytes", len(ranges), len(data))
		}
		page := protocol.Encode(protocol.SplitTable{Count: 1, Pages: []protocol.CID{c}})
		root := protocol.NewCID(protocol.CodecDagCBOR, page)
		m.blocks[root] = page
		if ranges, err := ReadSplit(context.Background(), m, root, 0); err == nil {
			for _, r := range ranges {
				if r.Offset < 0 || r.Length < 0 || r.Offset+r.Length > r.Size {
					t.Fatalf("a range of %d+%d of %d", r.Offset, r.Length, r.Size)
				}
			}
		}
	})
}
