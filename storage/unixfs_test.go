package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	boxofs "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	boxoio "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/meshnode/meshnode/protocol"
)

// dag gives boxo the blocks of a memory, so that its reading and writing, which
// is Kubo's, can be held against ours.
type dag struct{ *memory }

func (d dag) Get(ctx context.Context, c cid.Cid) (ipld.Node, error) {
	key, err := protocol.FromCid(c)
	if err != nil {
		return nil, err
	}
	data, err := d.memory.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	block, err := blocks.NewBlockWithCid(data, c)
	if err != nil {
		return nil, err
	}
	if c.Type() == cid.Raw {
		return merkledag.DecodeRawBlock(block)
	}
	return merkledag.DecodeProtobufBlock(block)
}

func (d dag) GetMany(ctx context.Context, cids []cid.Cid) <-chan *ipld.NodeOption {
	out := make(chan *ipld.NodeOption, len(cids))
	defer close(out)
	for _, c := range cids {
		n, err := d.Get(ctx, c)
		out <- &ipld.NodeOption{Node: n, Err: err}
	}
	return out
}

func (d dag) Add(ctx context.Context, n ipld.Node) error {
	c, err := protocol.FromCid(n.Cid())
	if err != nil {
		return err
	}
	return d.Put(ctx, c, n.RawData())
}

func (d dag) AddMany(ctx context.Context, nodes []ipld.Node) error {
	for _, n := range nodes {
		if err := d.Add(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (d dag) Remove(context.Context, cid.Cid) error       { return errors.ErrUnsupported }
func (d dag) RemoveMany(context.Context, []cid.Cid) error { return errors.ErrUnsupported }

// kubo is what Kubo's profile makes of a file.
func kubo(t *testing.T, data []byte, chunkSize int64) protocol.CID {
	t.Helper()
	profile := boxoio.UnixFS_v1_2025
	params := helpers.DagBuilderParams{
		Maxlinks:   profile.FileDAGWidth,
		RawLeaves:  profile.RawLeaves,
		CidBuilder: profile.CidBuilder(),
		Dagserv:    dag{newMemory()},
	}
	db, err := params.New(chunk.NewSizeSplitter(bytes.NewReader(data), chunkSize))
	ok(t, err)
	n, err := balanced.Layout(db)
	ok(t, err)
	c, err := protocol.FromCid(n.Cid())
	ok(t, err)
	return c
}

func TestFilesHaveKubosCIDs(t *testing.T) {
	m := newMemory()
	equal(t, "empty", m.add(t, nil), parse(t, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"))
	for _, size := range []int{0, 1, 1000, ChunkSize - 1, ChunkSize, ChunkSize + 1, 3*ChunkSize + 5} {
		data := noise(1, size)
		equal(t, fmt.Sprint(size), m.add(t, data), kubo(t, data, ChunkSize))
	}
}

func TestTreesOfManyLeavesHaveKubosCIDs(t *testing.T) {
	const tiny = 2 // bytes a leaf, so that three levels stay small
	for _, leaves := range []int{1, 2, nodeWidth, nodeWidth + 1, 2*nodeWidth + 7, nodeWidth*nodeWidth + 1} {
		m := newMemory()
		data := noise(2, leaves*tiny)
		var pieces []piece
		for i := range leaves {
			leaf, err := putLeaf(t.Context(), m, data[i*tiny:][:tiny])
			ok(t, err)
			pieces = append(pieces, leaf)
		}
		root, err := balance(t.Context(), m, pieces)
		ok(t, err)
		equal(t, fmt.Sprintf("%d leaves", leaves), root.link.cid, kubo(t, data, tiny))
	}
}

func TestFoldersHaveKubosCIDs(t *testing.T) {
	// 256 KiB are about 2,900 entries with names of this length.
	for _, count := range []int{0, 1, 5, 2700, 2800, 2850, 2900, 2950, 3000, 6000, 20000} {
		m := newMemory()
		dir, err := boxoio.NewDirectory(dag{m}, boxoio.WithCidBuilder(boxoio.UnixFS_v1_2025.CidBuilder()),
			boxoio.WithSizeEstimationMode(boxoio.SizeEstimationBlock))
		ok(t, err)
		var links []pbLink
		for i := range count {
			name := fmt.Sprintf("%s-%d", strings.Repeat("n", 30+i%7), count-i)
			n := merkledag.NewRawNode([]byte(name))
			ok(t, dir.AddChild(t.Context(), name, n))
			links = append(links, pbLink{name: name, cid: protocol.CID(n.Cid().Bytes()), total: uint64(len(name))})
		}
		want, err := dir.GetNode()
		ok(t, err)
		got, err := putDirectory(t.Context(), m, links)
		ok(t, err)
		equal(t, fmt.Sprintf("%d entries", count), got.cid.String(), want.Cid().String())

		n, err := getFS(t.Context(), m, got.cid)
		ok(t, err)
		budget := maxEntries
		entries, err := n.entries(t.Context(), m, &budget)
		ok(t, err)
		equal(t, "entries read back", len(entries), count)
	}
}

func TestConcatIsReadByBoxo(t *testing.T) {
	m := newMemory()
	var parts []Part
	var want []byte
	for _, size := range []int{0, 5, 0, 0, ChunkSize + 7, 1, 0} {
		data := noise(uint64(size), size)
		want = append(want, data...)
		parts = append(parts, Part{CID: m.add(t, data), Size: int64(size)})
	}
	root, size, err := Concat(t.Context(), m, parts)
	ok(t, err)
	equal(t, "size", size, int64(len(want)))
	n, err := dag{m}.Get(t.Context(), root.Cid())
	ok(t, err)
	r, err := boxoio.NewDagReader(t.Context(), n, dag{m})
	ok(t, err)
	got, err := io.ReadAll(r)
	ok(t, err)
	if !bytes.Equal(got, want) {
		t.Fatal("boxo reads something else")
	}
}

func TestBoxosNodesAreRead(t *testing.T) {
	m := newMemory()
	data := noise(3, 10_000)
	// Small wrapped leaves, as Kubo's older profile makes them.
	params := helpers.DagBuilderParams{Maxlinks: 3, CidBuilder: boxoio.UnixFS_v1_2025.CidBuilder(), Dagserv: dag{m}}
	db, err := params.New(chunk.NewSizeSplitter(bytes.NewReader(data), 100))
	ok(t, err)
	n, err := balanced.Layout(db)
	ok(t, err)
	f, err := NewFile(t.Context(), m, protocol.CID(n.Cid().Bytes()))
	ok(t, err)
	got, err := io.ReadAll(f)
	ok(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("read something else")
	}
	link, err := boxofs.SymlinkData("/etc/passwd")
	ok(t, err)
	sym, err := decodeFS((&pbNode{data: link}).encode())
	ok(t, err)
	equal(t, "kind", sym.kind, kindSymlink)
}
