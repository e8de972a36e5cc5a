package scheduler

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestTooManyFacts holds that the bounds on facts do not make the join depend
// on the order in which they came, nor on repeats.
func TestTooManyFacts(t *testing.T) {
	m := simManifest(70, 0, false)
	job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
	var all []*protocol.Fact
	for i := range 2 * maxFailures {
		run := &protocol.Failure{Task: protocol.Key{Index: i % 64}, Kind: protocol.FailExit, Code: i}
		all = append(all, &protocol.Fact{Job: job, Kind: protocol.FailedRun, Run: run})
	}
	for i := range 3 * maxFailuresPerTask { // of another shard
		run := &protocol.Failure{Task: protocol.Key{Index: 64}, Kind: protocol.FailExit, Code: i}
		all = append(all, &protocol.Fact{Job: job, Kind: protocol.FailedRun, Run: run})
	}
	for i := range 2 * maxFactsOfKind {
		all = append(all, &protocol.Fact{Job: job, Kind: protocol.Failed, At: time.Unix(int64(i%5), 0), By: peer.ID(rune(i))})
	}
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation(all).Draw(t, "order")
		order = append(order, rapid.SliceOfN(rapid.SampledFrom(all), 0, 50).Draw(t, "repeats")...)
		l, first := newLedger(job, layoutOf(m, 64)), newLedger(job, layoutOf(m, 64))
		for i := range order {
			l.AddFact(protocol.Signed{Body: protocol.Encode(order[i])}, order[i])
		}
		for _, f := range all {
			first.AddFact(protocol.Signed{Body: protocol.Encode(f)}, f)
		}
		if !same(l, first) {
			t.Fatal("two orders of the same facts differ")
		}
		if l.facts.failed[1] != maxFailures || len(l.Failures(protocol.Key{Index: 64})) != maxFailuresPerTask || len(l.Stated(protocol.Failed)) != maxFactsOfKind {
			t.Fatalf("kept %d failed runs of one shard, %d of one task, %d facts of a kind", l.facts.failed[1], len(l.Failures(protocol.Key{Index: 64})), len(l.Stated(protocol.Failed)))
		}
		if at := l.Fact(protocol.Failed).At; !at.Equal(time.Unix(0, 0)) {
			t.Fatalf("the first fact is of %s", at)
		}
	})
}
