package task

import (
	"strings"
	"testing"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// TestConcatBelievesNoSize hands over right inputs with wrong sizes: the root
// is the one that right sizes give.
func TestConcatBelievesNoSize(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Dir: t.TempDir()})
	large := strings.Repeat("0123456789abcdef", storage.ChunkSize/16+1) // two leaves under a node
	for name, contents := range map[string][]string{
		"one small":       {"abc"},
		"one large":       {large},
		"small ones":      {"abc", "defg"},
		"small and large": {"abc", large, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := Output{}
			for _, lie := range []int64{0, 1, -1, 1 << 40} {
				m := &protocol.Manifest{Stages: []protocol.Stage{{Kind: protocol.MapStage, Tasks: len(contents)}, {Kind: protocol.ConcatStage, Tasks: 1}}}
				w := Work{Manifest: m, Task: protocol.Key{Stage: 1}}
				for _, c := range contents {
					w.Inputs = append(w.Inputs, protocol.Input{CID: b.add(t, c), Size: int64(len(c)) + lie})
				}
				out, err := r.Run(t.Context(), w)
				if err != nil {
					t.Fatalf("sizes wrong by %d: %v", lie, err)
				}
				if lie == 0 {
					want = out
				}
				all := strings.Join(contents, "")
				if out.Result != want.Result || out.Size != int64(len(all)) || b.read(t, out.Result) != all {
					t.Errorf("sizes wrong by %d give %s of %d bytes, want %s of %d", lie, out.Result, out.Size, want.Result, len(all))
				}
			}
		})
	}
}

// TestConcatOfWhatIsNoFile hands over what cannot be joined, and what nobody
// has: the input is named.
func TestConcatOfWhatIsNoFile(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Dir: t.TempDir()})
	here, gone := b.add(t, "abc"), b.add(t, "gone")
	b.forget(gone)
	doc, _, err := storage.PutDoc(t.Context(), b, protocol.Shuffle{})
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]protocol.CID{"gone": gone, "a document": doc} {
		m := &protocol.Manifest{Stages: []protocol.Stage{{Kind: protocol.MapStage, Tasks: 2}, {Kind: protocol.ConcatStage, Tasks: 1}}}
		w := Work{Manifest: m, Task: protocol.Key{Stage: 1}, Inputs: []protocol.Input{{CID: here, Size: 3}, {CID: bad, Size: 4}}}
		if failed := runErr(t, r, w, protocol.FailInput); failed.Lost != bad {
			t.Errorf("%s: the lost input is %s, want %s", name, failed.Lost, bad)
		}
	}
}
