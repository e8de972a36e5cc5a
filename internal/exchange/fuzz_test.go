package exchange

import (
	"bufio"
	"bytes"
	"context"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// frames are what b is as several frames, for seeds.
func frames(values ...any) []byte {
	var out bytes.Buffer
	for _, v := range values {
		_ = protocol.WriteFrame(&out, protocol.Encode(v))
	}
	return out.Bytes()
}

// FuzzRequest holds that what is served is within its bounds.
func FuzzRequest(f *testing.F) {
	c := protocol.NewCID(protocol.CodecRaw, []byte("x"))
	f.Add(frames(request{Kind: askDAG, CIDs: []protocol.CID{c}}))
	f.Add(frames(request{Kind: askBlocks, CIDs: []protocol.CID{c, c}}))
	f.Add(frames(request{Kind: askRange, CIDs: []protocol.CID{c}, Offset: 5, Length: 1 << 40}))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := readRequest(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if len(req.CIDs) == 0 || len(req.CIDs) > maxWanted || req.Offset < 0 || req.Length < 0 || req.Offset+req.Length < 0 {
			t.Fatalf("%+v is served", req)
		}
		for _, c := range req.CIDs {
			if !c.Defined() || c.Codec() == 0 {
				t.Fatalf("%q is looked for", string(c))
			}
		}
	})
}

// FuzzDownload is asked for two blocks by a source that says anything. Nothing
// is kept but what has the hash that it is named by.
func FuzzDownload(f *testing.F) {
	s, err := storage.OpenConfig(storage.Config{Dir: f.TempDir(), Volatile: true})
	ok(f, err)
	f.Cleanup(func() { ok(f, s.Close()) })
	x := New(Config{Store: s})
	leaf := []byte("leaf")
	raw := protocol.NewCID(protocol.CodecRaw, leaf)
	doc := protocol.Encode([]protocol.CID{raw})
	root := protocol.NewCID(protocol.CodecDagCBOR, doc)
	honest := frames(header{Say: sayBlock, CID: root, Size: int64(len(doc))})
	honest = append(append(honest, doc...), frames(header{Say: sayBlock, CID: raw, Size: int64(len(leaf))})...)
	honest = append(append(honest, leaf...), frames(header{Say: sayEnd})...)
	f.Add(honest)
	f.Add(frames(header{Say: sayMissing, CID: root}, header{Say: sayEnd}))
	f.Add(frames(header{Say: sayFailed, Text: "the disk is full"}))
	f.Add(frames(header{Say: sayRange, Size: 4}))
	f.Add(append(frames(header{Say: sayRange, Size: 4}), leaf...))
	f.Fuzz(func(t *testing.T, b []byte) {
		storing, ctx := errgroup.WithContext(context.Background())
		d := download{x: x, deep: true, wanted: map[protocol.CID]bool{}, storing: storing}
		d.want([]protocol.CID{root})
		err := d.receive(ctx, bufio.NewReader(bytes.NewReader(b)))
		if stored := storing.Wait(); err == nil && stored == nil && d.got > len(b) {
			t.Fatalf("%d blocks in %d bytes", d.got, len(b))
		}
		if blocks, _ := s.Stats(); blocks > 2 {
			t.Fatalf("%d blocks are kept, of two", blocks)
		}
		sp := &spool{store: s}
		defer sp.close()
		req := request{Kind: askRange, CIDs: []protocol.CID{raw}, Length: int64(len(leaf))}
		if err := receiveRange(bufio.NewReader(bytes.NewReader(b)), req, sp); err == nil && sp.mem.Len() != len(leaf) {
			t.Fatalf("%d bytes came of %d", sp.mem.Len(), len(leaf))
		}
	})
}
