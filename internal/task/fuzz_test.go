package task

import (
	"testing"

	"github.com/meshnode/meshnode/protocol"
)

// FuzzShuffleIndex reads anything as the index of a shuffle file: the pieces of
// what passes lie one behind the other, and no sum of them overflows.
func FuzzShuffleIndex(f *testing.F) {
	const partitions = 3
	file := protocol.NewCID(protocol.CodecRaw, []byte("a\nb\n"))
	f.Add(protocol.Encode(protocol.Shuffle{File: file, Parts: []protocol.Partition{{Length: 2}, {Offset: 2, Length: 2}, {Offset: 4}}}))
	f.Add(protocol.Encode(protocol.Shuffle{Parts: make([]protocol.Partition, partitions)}))
	f.Add(protocol.Encode(protocol.Shuffle{File: file, Parts: []protocol.Partition{{Length: maxSpool - 1}, {Offset: maxSpool - 1, Length: 1}, {Offset: -1}}}))
	m := &protocol.Manifest{Stages: []protocol.Stage{{Partitions: partitions}, {}}}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBlocks()
		c := protocol.NewCID(protocol.CodecDagCBOR, data)
		if err := b.Put(t.Context(), c, data); err != nil {
			t.Fatal(err)
		}
		r := &running{w: Work{Manifest: m, Task: protocol.Key{Stage: 1}}, get: &tracker{Getter: b}}
		doc, err := r.document(t.Context(), protocol.Input{CID: c})
		if err != nil {
			return
		}
		var end int64
		for p := range partitions {
			part := pieceOf(protocol.Input{CID: c}, doc, p).part
			if part.Offset != end || part.Length < 0 {
				t.Fatalf("part %d is %+v, the one before ends at %d", p, part, end)
			}
			end += part.Length
		}
		if end >= maxSpool || (end > 0) != doc.File.Defined() {
			t.Fatalf("%d bytes of file %q", end, string(doc.File))
		}
	})
}
