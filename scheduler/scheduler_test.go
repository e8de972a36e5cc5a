package scheduler

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// TestLedgerJoin holds the join to be commutative, associative and idempotent
// (invariant I4), and the plan to depend on the set alone (rule R8).
func TestLedgerJoin(t *testing.T) {
	m := simManifest(20, 2, true)
	m.Mode = protocol.Provenance
	job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
	var all []protocol.Receipt
	results := map[protocol.Key]protocol.CID{}
	for s, stage := range m.Stages {
		for i := range stage.Tasks {
			k := protocol.Key{Stage: s, Index: i}
			inputs := []protocol.CID{m.Splits}
			if s > 0 {
				inputs = nil
				from, count := dependencies(m, k)
				for d := from; d < from+count; d++ {
					inputs = append(inputs, results[protocol.Key{Stage: s - 1, Index: d}])
				}
			}
			r := protocol.Receipt{Job: job, Task: k, Inputs: protocol.InputsDigest(i, inputs), Result: simResult(k, inputs), Worker: "a"}
			other := r
			other.Result, other.Worker = protocol.NewCID(protocol.CodecRaw, []byte(k.String()+"another result")), "b"
			results[k] = min(r.Result, other.Result)
			all = append(all, r, other)
		}
	}
	want := results[protocol.Key{Stage: len(m.Stages) - 1}]
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(all).Draw(t, "order")
		order = append(order, rapid.SliceOf(rapid.SampledFrom(all)).Draw(t, "repeats")...)
		p := NewPlan(job, m)
		for i := range order {
			p.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(order[i])}, &order[i])
		}
		if p.Root() != want {
			t.Fatalf("root %s, want %s", p.Root(), want)
		}
		if p.Done() != m.Tasks() {
			t.Fatalf("%d of %d tasks done", p.Done(), m.Tasks())
		}
	})
}

// TestLostResult holds that only what is still needed runs again.
func TestLostResult(t *testing.T) {
	m := simManifest(16, 1, true)
	p := NewPlan(protocol.NewCID(protocol.CodecDagCBOR, []byte("job")), m)
	finish := func(stage, index int) {
		k := protocol.Key{Stage: stage, Index: index}
		digest, known := p.InputsDigest(k)
		if !known {
			t.Fatalf("task %s is not ready", k)
		}
		r := &protocol.Receipt{Job: p.Job, Task: k, Inputs: digest, Result: protocol.NewCID(protocol.CodecRaw, []byte(k.String())), Took: time.Duration(p.Ledger.size())}
		p.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(r)}, r)
	}
	never := func(protocol.Key) bool { return false }
	for i := range 16 {
		finish(0, i)
	}
	finish(1, 0)
	p.Lose(protocol.Key{Stage: 0, Index: 3})  // its merge is done: nobody needs it
	p.Lose(protocol.Key{Stage: 0, Index: 12}) // its merge is not
	if got := p.Ready(0, 10, never); !slices.Equal(got, []protocol.Key{{Stage: 0, Index: 12}}) {
		t.Fatalf("ready: %v, want task 0/12", got)
	}
	finish(0, 12)
	if got := p.Ready(0, 10, never); !slices.Equal(got, []protocol.Key{{Stage: 1, Index: 1}}) {
		t.Fatalf("ready: %v, want task 1/1", got)
	}
}

func (l *Ledger) size() int {
	receipts, facts := l.Everything()
	return len(receipts) + len(facts)
}

// TestStagesPassTheManifestsCheck holds that every chain gives stages that a
// manifest may have.
func TestStagesPassTheManifestsCheck(t *testing.T) {
	key := testKey(t)
	rapid.Check(t, func(t *rapid.T) {
		m := simManifest(rapid.IntRange(1, 20000).Draw(t, "splits"), rapid.IntRange(0, 50).Draw(t, "partitions"), rapid.Bool().Draw(t, "combine"))
		if m.Stages[0].Partitions == 0 {
			m.Stages[0].Combine = nil
		}
		m.Version, m.Nonce, m.Limits = protocol.ManifestVersion, make([]byte, 16), protocol.Limits{Memory: 1, Timeout: 1}
		doc, err := protocol.SignManifest(*m, key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := protocol.OpenManifest(doc); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRankMovesLittle holds that losing a node moves only its own place.
func TestRankMovesLittle(t *testing.T) {
	ids := []peer.ID{"a", "b", "c", "d", "e", "f"}
	before := Rank("key", ids)
	for _, gone := range ids {
		rest := slices.DeleteFunc(slices.Clone(ids), func(id peer.ID) bool { return id == gone })
		want := slices.DeleteFunc(slices.Clone(before), func(id peer.ID) bool { return id == gone })
		if got := Rank("key", rest); !slices.Equal(got, want) {
			t.Errorf("without %s: %v, want %v", gone, got, want)
		}
	}
}
