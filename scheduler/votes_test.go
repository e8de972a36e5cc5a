package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// say adds a receipt by which a node gives a result of task k.
func say(p *Plan, k protocol.Key, by peer.ID, result string) {
	digest, _ := p.InputsDigest(k)
	r := &protocol.Receipt{Job: p.Job, Task: k, Inputs: digest, Result: protocol.NewCID(protocol.CodecRaw, []byte(result)), Worker: by}
	p.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(r)}, r)
}

func result(text string) protocol.CID { return protocol.NewCID(protocol.CodecRaw, []byte(text)) }

func TestMajorityDecides(t *testing.T) {
	s, now := aloneSteward(4, simManifest(2, 0, false))
	k, other := protocol.Key{}, protocol.Key{Index: 1}
	s.Begin(now)
	say(s.plan, other, "a", "from the liar")
	say(s.plan, k, "a", "wrong")
	if r, _ := s.plan.Result(k); r != result("wrong") {
		t.Fatal("the only result does not count")
	}
	say(s.plan, k, "b", "right")
	if r, _ := s.plan.Result(k); r != "" || !s.plan.contested[k] {
		t.Fatal("one of two results counts")
	}
	s.offers, s.claims = map[uint64]*offer{}, map[protocol.Key]claim{}
	s.Tick(now.Add(time.Second))
	asked := 0
	for _, o := range s.offers {
		if slices.Contains(o.keys, k) {
			asked++
			if slices.Contains(o.asked, "a") || slices.Contains(o.asked, "b") || len(o.keys) > 1 {
				t.Errorf("asked %v about %v", o.asked, o.keys)
			}
		}
	}
	if asked != 1 {
		t.Fatalf("%d offers of the contested task", asked)
	}
	say(s.plan, k, "c", "right")
	if r, _ := s.plan.Result(k); r != result("right") {
		t.Fatal("what two of three gave does not count")
	}
	if got := s.plan.Distrusted(); len(got) != 1 || got[0] != "a" {
		t.Fatalf("distrusted are %v", got)
	}
	if s.plan.isDone(other) {
		t.Fatal("what the liar gave elsewhere still counts")
	}
	if slices.ContainsFunc(s.capable(0), func(n Node) bool { return n.ID == "a" }) {
		t.Fatal("the liar is still asked")
	}
	say(s.plan, other, "b", "right")
	if r, _ := s.plan.Result(other); r != result("right") {
		t.Fatal("a second result does not take the place of the liar's")
	}
}

func TestNobodyLeftToDecide(t *testing.T) {
	s, now := aloneSteward(2, simManifest(1, 0, false))
	s.Begin(now)
	say(s.plan, protocol.Key{}, "a", "this")
	say(s.plan, protocol.Key{}, "b", "that")
	text := concluded(s.Tick(now.Add(time.Second)))
	if !strings.Contains(text, "not deterministic") || !strings.Contains(text, result("that").String()) {
		t.Fatalf("concluded %q", text)
	}
}

// TestProvenanceJobSaysThatItIsAmbiguous holds that where programs may differ
// from run to run, nobody is distrusted for it.
func TestProvenanceJobSaysThatItIsAmbiguous(t *testing.T) {
	m := simManifest(1, 0, false)
	m.Mode = protocol.Provenance
	s, _ := aloneSteward(3, m)
	for _, by := range []peer.ID{"a", "b", "c"} {
		say(s.plan, protocol.Key{}, by, "given by "+string(by))
	}
	want := slices.Min([]protocol.CID{result("given by a"), result("given by b"), result("given by c")})
	if r, _ := s.plan.Result(protocol.Key{}); r != want {
		t.Error("the lowest does not count")
	}
	if st := s.plan.State(); !st.Ambiguous || len(st.Distrusted) > 0 {
		t.Errorf("state %+v", st)
	}
}

// TestVotesDoNotDependOnOrder holds that liars of any number change nothing of
// the join: the same receipts, in any order, give the same plan (I4), with each
// worker's receipts bounded.
func TestVotesDoNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := simManifest(rapid.IntRange(1, 3).Draw(t, "splits"), 0, false)
		job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
		type receipt struct {
			signed protocol.SignedReceipt
			open   *protocol.Receipt
		}
		var all []receipt
		inputs := [][]protocol.CID{{m.Splits}}
		for _, text := range []string{"x", "y"} {
			list := make([]protocol.CID, m.Stages[0].Tasks)
			for i := range list {
				list[i] = result(text)
			}
			inputs = append(inputs, list)
		}
		for range rapid.IntRange(0, 60).Draw(t, "receipts") {
			k := protocol.Key{Stage: rapid.IntRange(0, 1).Draw(t, "stage")}
			k.Index = rapid.IntRange(0, m.Stages[k.Stage].Tasks-1).Draw(t, "index")
			r := &protocol.Receipt{
				Job: job, Task: k, Inputs: protocol.InputsDigest(k.Index, rapid.SampledFrom(inputs).Draw(t, "inputs")),
				Worker: peer.ID(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "worker")),
				Result: result(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "result")),
				Took:   time.Duration(rapid.IntRange(0, 9).Draw(t, "took")),
			}
			all = append(all, receipt{protocol.SignedReceipt{Body: protocol.Encode(r)}, r})
		}
		plan := func(order []receipt) *Plan {
			p := NewPlan(job, m)
			for _, r := range order {
				p.AddReceipt(r.signed, r.open)
			}
			return p
		}
		a, b := plan(all), plan(rapid.Permutation(all).Draw(t, "order"))
		if !same(a.Ledger, b.Ledger) || !reflect.DeepEqual(results(a), results(b)) {
			t.Fatalf("results %v and %v", results(a), results(b))
		}
		if fmt.Sprint(a.Distrusted(), sortedKeys(a.contested)) != fmt.Sprint(b.Distrusted(), sortedKeys(b.contested)) {
			t.Fatalf("distrusted %v, contested %v; in another order %v, %v", a.Distrusted(), sortedKeys(a.contested), b.Distrusted(), sortedKeys(b.contested))
		}
		a.Ledger.everything(func(k protocol.Key, r *record) {
			of := map[peer.ID]int{}
			for _, e := range r.receipts {
				if of[e.open.Worker]++; of[e.open.Worker] > maxReceiptsPerWorker {
					t.Fatalf("task %s keeps %d receipts of one worker", k, of[e.open.Worker])
				}
			}
		})
	})
}
