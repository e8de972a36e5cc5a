package scheduler

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestTookOfAgesHarmsNobody holds that a receipt which says that its task took
// for ever leaves estimates that others accept: an offer beyond its bounds is
// not even decoded, and the job would wait for ever.
func TestTookOfAgesHarmsNobody(t *testing.T) {
	s, now := aloneSteward(3, simManifest(8, 0, false))
	s.Begin(now)
	for i := range 2 {
		receive(s, now, protocol.Key{Index: i}, "a", math.MaxInt64)
	}
	s.dropOffers()
	clear(s.claims)
	clear(s.resting)
	offers := 0
	for _, e := range s.Tick(now.Add(time.Second)) {
		if o, ok := e.(Send); ok {
			if o, ok := o.Message.(*protocol.Offer); ok {
				offers++
				if _, err := protocol.DecodeMessage(protocol.EncodeMessage(o)); err != nil {
					t.Fatalf("an offer with the estimate %s: %v", o.Estimate, err)
				}
			}
		}
	}
	if offers == 0 {
		t.Fatal("nothing is offered")
	}
}

// TestMonthsInLine holds that tasks which are said to take months disturb
// neither the bids of a worker nor the order in which it serves others later.
func TestMonthsInLine(t *testing.T) {
	w := NewWorker(1, 1<<40, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	months := protocol.Turn{Submitter: "m", Estimate: protocol.MaxEstimate, Cores: protocol.MaxCores}
	for i := range maxQueue {
		w.Awarded(now, "s", &protocol.Award{Job: "m", Turn: months, Tasks: []protocol.Awarded{{Task: protocol.Key{Index: i}}}}, simNeeds)
	}
	bid := w.Offered(now, "s", &protocol.Offer{Job: result("j"), Tasks: 1}, 0, "")[0].(Send).Message
	if _, err := protocol.DecodeMessage(protocol.EncodeMessage(bid)); err != nil {
		t.Fatalf("%+v: %v", bid, err)
	}
	if next := w.line.next["m"]; next < protocol.MaxEstimate {
		t.Errorf("their submitter was charged %s for thousands of months", next)
	}
	for len(w.running) > 0 {
		x := w.running[0]
		w.Ended(now, x.job, x.task, 0)
		w.Told(x.job, x.task)
	}
	if w.line.now != 0 || len(w.line.next) > 0 {
		t.Errorf("a worker that rests goes on at %s, and remembers %d submitters", w.line.now, len(w.line.next))
	}
}

// TestMissingBytesBeyondReckoning holds that who lacks most is not taken for who
// begins first.
func TestMissingBytesBeyondReckoning(t *testing.T) {
	s, _ := aloneSteward(2, simManifest(2, 0, false))
	o := &offer{keys: []protocol.Key{{}}, asked: []peer.ID{"a", "b"}, bids: map[peer.ID]*protocol.Bid{
		"a": {Tasks: 1, Missing: math.MaxInt64}, "b": {Tasks: 1, Missing: 1},
	}}
	if h := s.choose(s.hands(o), time.Second); h.who != "b" {
		t.Errorf("the task goes to %s", h.who)
	}
}

// TestContestedInputsAreNotAwarded holds that what has become contested between
// an offer and its bids is not awarded: an input without a name is refused, and
// with it the stream.
func TestContestedInputsAreNotAwarded(t *testing.T) {
	s, now := aloneSteward(4, simManifest(2, 0, false))
	s.Begin(now)
	say(s.plan, protocol.Key{}, "a", "one")
	say(s.plan, protocol.Key{Index: 1}, "a", "two")
	s.dropOffers()
	clear(s.claims)
	clear(s.resting)
	next := protocol.Key{Stage: 1}
	s.Tick(now.Add(time.Second))
	var id uint64
	for _, n := range s.offerIDs() {
		if slices.Contains(s.offers[n].keys, next) {
			id = n
		}
	}
	if id == 0 {
		t.Fatal("the next stage is not offered")
	}
	say(s.plan, protocol.Key{}, "b", "another")
	var out []Effect
	for _, who := range slices.Clone(s.offers[id].asked) {
		out = append(out, s.Bid(now.Add(time.Second), who, &protocol.Bid{Job: s.plan.Job, Reservation: id, Tasks: 1})...)
	}
	for who, n := range awards(out) {
		if n > 0 {
			t.Errorf("%s is awarded a task that reads what is contested", who)
		}
	}
}

// TestLootKeepsTurns holds that stolen tasks of two stages arrive with what each
// takes of its node.
func TestLootKeepsTurns(t *testing.T) {
	w := NewWorker(1, 1<<40, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	for stage := range 2 {
		a := &protocol.Award{Job: "j", Turn: protocol.Turn{Memory: int64(1 + stage)}}
		for i := range 4 {
			a.Tasks = append(a.Tasks, protocol.Awarded{Task: protocol.Key{Stage: stage, Index: i}})
		}
		w.Awarded(now, "s", a, simNeeds)
	}
	w.queue = append(w.queue[2:], w.queue[:2]...) // both stages among those that are handed over
	last := 0
	for _, e := range w.Asked(now, "t", &protocol.Steal{Number: 1, Slots: 1, Has: protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Wasm}, Cores: 1}}) {
		m := e.(Send).Message.(*protocol.Loot)
		if m.Last {
			last++
		}
		for _, x := range m.Tasks {
			if m.Turn.Memory != int64(1+x.Task.Stage) {
				t.Errorf("task %s is handed over as one that takes %d bytes", x.Task, m.Turn.Memory)
			}
		}
	}
	if last != 1 {
		t.Errorf("%d messages are the last", last)
	}
}

// TestResultsThatAreNotCopied holds that a worker whose results cannot be copied
// begins nothing more, and goes on as soon as one has been.
func TestResultsThatAreNotCopied(t *testing.T) {
	w := NewWorker(1, 1<<40, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	for i := range maxEnding + 2 {
		w.Awarded(now, "s", &protocol.Award{Job: "j", Tasks: []protocol.Awarded{{Task: protocol.Key{Index: i}}}}, simNeeds)
	}
	ran := 0
	for ; len(w.running) > 0; ran++ {
		w.Ended(now, "j", w.running[0].task, time.Second)
	}
	if ran != maxEnding || len(w.Tick(now, "self", nil, protocol.Needs{})) > 0 {
		t.Fatalf("%d tasks have run, at most %d may wait to be told of", ran, maxEnding)
	}
	w.Told("j", protocol.Key{})
	if w.Tick(now, "self", nil, protocol.Needs{}); len(w.running) != 1 {
		t.Error("nothing runs, though a result has been copied")
	}
}
