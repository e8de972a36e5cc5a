package scheduler

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

var (
	someRoot = protocol.NewCID(protocol.CodecRaw, []byte("root"))
	noon     = time.Unix(1e9, 0)
)

func peers(n int) []peer.ID {
	var out []peer.ID
	for i := range n {
		out = append(out, peer.ID(fmt.Sprintf("\x00\x02%02d", i)))
	}
	return out
}

// asksOf are the questions among effects, by who is asked.
func asksOf(effects []Effect, q Question) map[peer.ID]Ask {
	out := map[peer.ID]Ask{}
	for _, e := range effects {
		if a, ok := e.(Ask); ok && a.Question == q {
			out[a.To] = a
		}
	}
	return out
}

// reply answers a question that names one root.
func reply(a Ask, boot uint64, held bool) Reply {
	return Reply{Ask: a, Boot: boot, Held: []bool{held}}
}

func TestPlacementCopiesAndVerifies(t *testing.T) {
	ids := peers(4)
	p := NewPlacement("key", []protocol.CID{someRoot}, 3, ids, ids)
	first := asksOf(p.Tick(noon), AskHeld)
	if len(first) != 4 {
		t.Fatalf("%d nodes were asked what they hold, want all 4", len(first))
	}
	var out []Effect
	for i, id := range ids {
		out = append(out, p.Answered(noon, reply(first[id], 1, i == 2))...)
	}
	copies := asksOf(out, AskHold)
	if len(copies) != 2 {
		t.Fatalf("%d nodes were asked for copies, want 2", len(copies))
	}
	out = nil
	for _, id := range slices.Sorted(keysOf(copies)) {
		if a := copies[id]; !slices.Equal(a.Sources, ids[2:3]) {
			t.Errorf("the sources named are %v, want the one holder", a.Sources)
		}
		out = append(out, p.Answered(noon, Reply{Ask: copies[id], Boot: 1})...)
	}
	if p.Ended() {
		t.Fatal("ended before anybody was asked again")
	}
	second := asksOf(out, AskHeld)
	if len(second) != 3 {
		t.Fatalf("%d nodes were asked again, want the 3 that hold it", len(second))
	}
	for _, id := range slices.Sorted(keysOf(second)) {
		p.Answered(noon, reply(second[id], 1, true))
	}
	if r := p.Result(); !p.Ended() || !r.Enough() || len(r.All) != 3 {
		t.Errorf("ended %v with %+v", p.Ended(), r)
	}
}

func keysOf(m map[peer.ID]Ask) func(func(peer.ID) bool) {
	return func(yield func(peer.ID) bool) {
		for id := range m {
			if !yield(id) {
				return
			}
		}
	}
}

// TestPlacementDistrustsRestarts has a node answer the second time under another
// boot ID: that verifies nothing.
func TestPlacementDistrustsRestarts(t *testing.T) {
	ids := peers(2)
	p := NewPlacement("key", []protocol.CID{someRoot}, 2, ids, ids)
	asks := asksOf(p.Tick(noon), AskHeld)
	p.Answered(noon, reply(asks[ids[0]], 1, true))
	again := asksOf(p.Answered(noon, reply(asks[ids[1]], 1, true)), AskHeld)
	p.Answered(noon, reply(again[ids[0]], 1, true))
	third := asksOf(p.Answered(noon, reply(again[ids[1]], 2, true)), AskHeld)
	if p.Ended() || len(third) != 2 {
		t.Fatalf("ended %v; %d nodes asked once more, want both", p.Ended(), len(third))
	}
	p.Answered(noon, reply(third[ids[0]], 1, true))
	p.Answered(noon, reply(third[ids[1]], 2, true))
	if r := p.Result(); !p.Ended() || !r.Enough() {
		t.Errorf("ended %v with %+v", p.Ended(), r)
	}
}

// TestPlacementHedges has one node hang all the time: at no step is it waited
// for longer than an answer takes.
func TestPlacementHedges(t *testing.T) {
	ids := peers(4)
	hung := Rank("key", ids)[0]
	p := NewPlacement("key", []protocol.CID{someRoot}, 3, ids, ids)
	took := play(p, func(a Ask, now time.Time) (Reply, time.Duration) {
		switch {
		case a.To == hung:
			return Reply{}, 0
		case a.Question == AskHeld:
			return reply(a, 1, a.Round > 1 || a.To == Rank("key", ids)[3]), time.Millisecond
		}
		return Reply{Ask: a, Boot: 1}, 10 * time.Millisecond
	})
	if r := p.Result(); !r.Enough() || r.Copies != 3 {
		t.Fatalf("placed %+v", r)
	}
	if took > 2*hedgeAfter {
		t.Errorf("it took %s with one node that hangs", took)
	}
}

// TestPlacementSmallMesh has one of two nodes deaf: the other goes on alone,
// when the failure detector would have spoken.
func TestPlacementSmallMesh(t *testing.T) {
	ids := peers(2)
	p := NewPlacement("key", []protocol.CID{someRoot}, 3, ids, ids)
	took := play(p, func(a Ask, now time.Time) (Reply, time.Duration) {
		if a.To == ids[1] {
			return Reply{}, 0
		}
		return reply(a, 1, true), time.Millisecond
	})
	if r := p.Result(); !r.Enough() || r.Copies != 1 || took > deafAfter+hedgeAfter {
		t.Errorf("placed %+v after %s", r, took)
	}
}

// TestPlacementSaysWhatIsLost asks for what nobody has.
func TestPlacementSaysWhatIsLost(t *testing.T) {
	ids := peers(3)
	p := NewPlacement("key", []protocol.CID{someRoot}, 2, ids, ids)
	play(p, func(a Ask, now time.Time) (Reply, time.Duration) { return reply(a, 1, false), time.Millisecond })
	if r := p.Result(); r.Enough() || !slices.Equal(r.Lost, []protocol.CID{someRoot}) {
		t.Errorf("placed %+v", r)
	}
}

// TestPlacementWaitsForCopies has a node copy for minutes, with signs of life: no
// other is asked to do the same.
func TestPlacementWaitsForCopies(t *testing.T) {
	ids := peers(3)
	p := NewPlacement("key", []protocol.CID{someRoot}, 2, ids, ids)
	asks := asksOf(p.Tick(noon), AskHeld)
	var out []Effect
	for i, id := range ids {
		out = append(out, p.Answered(noon, reply(asks[id], 1, i == 0))...)
	}
	copies := asksOf(out, AskHold)
	if len(copies) != 1 {
		t.Fatalf("%d nodes were asked for a copy, want 1", len(copies))
	}
	for at := time.Duration(0); at < time.Minute; at += 200 * time.Millisecond {
		for id := range copies {
			p.Alive(noon.Add(at), id)
		}
		if out := p.Tick(noon.Add(at)); len(out) > 0 || p.Ended() {
			t.Fatalf("after %s: %v", at, out)
		}
	}
}

// TestPlacementWaitsForInventories has all nodes take a minute to say what they
// hold, with signs of life: none of them is deaf.
func TestPlacementWaitsForInventories(t *testing.T) {
	ids := peers(3)
	p := NewPlacement("key", []protocol.CID{someRoot}, 3, ids, ids)
	asks, now := asksOf(p.Tick(noon), AskHeld), noon
	for round := 1; round <= 2; round++ {
		for range 60 {
			now = now.Add(time.Second)
			for _, id := range ids {
				p.Alive(now, id)
			}
			if out := p.Tick(now); len(out) > 0 || p.Ended() {
				t.Fatalf("round %d, after %s: %v", round, now.Sub(noon), out)
			}
		}
		var out []Effect
		for _, id := range ids {
			out = append(out, p.Answered(now, reply(asks[id], 1, true))...)
		}
		asks = asksOf(out, AskHeld)
	}
	if r := p.Result(); !p.Ended() || !r.Enough() || r.Copies != 3 {
		t.Errorf("ended %v with %+v", p.Ended(), r)
	}
}

// play carries a machine to its end in virtual time. Who answers after no time
// does not answer.
func play(m asker, answer func(a Ask, now time.Time) (Reply, time.Duration)) time.Duration {
	type due struct {
		at time.Time
		r  Reply
	}
	var open []due
	now := noon
	perform := func(effects []Effect) {
		for _, e := range effects {
			if r, after := answer(e.(Ask), now); after > 0 {
				open = append(open, due{now.Add(after), r})
			}
		}
	}
	for perform(m.Tick(now)); !m.Ended() && now.Sub(noon) < time.Minute; now = now.Add(time.Millisecond) {
		for len(open) > 0 {
			at := slices.IndexFunc(open, func(d due) bool { return !d.at.After(now) })
			if at < 0 {
				break
			}
			r := open[at].r
			open = slices.Delete(open, at, at+1)
			perform(m.Answered(now, r))
		}
		perform(m.Tick(now))
	}
	return now.Sub(noon)
}

func TestHedge(t *testing.T) {
	ids := peers(4)
	h := NewHedge(2, ids, 3)
	if got := h.Tick(noon); !slices.Equal(got, ids[:2]) {
		t.Fatalf("asked %v first", got)
	}
	h.Answered(ids[0], "no room")
	if got := h.Tick(noon); !slices.Equal(got, ids[2:3]) {
		t.Fatalf("asked %v after a refusal", got)
	}
	h.Answered(ids[2], "")
	later := noon.Add(hedgeAfter)
	if got := h.Tick(later); !slices.Equal(got, ids[3:]) {
		t.Fatalf("asked %v after a silence", got)
	}
	h.Answered(ids[1], "") // late, and it still counts
	if !h.Ended() || !slices.Equal(h.Did(), []peer.ID{ids[2], ids[1]}) {
		t.Errorf("ended %v with %v", h.Ended(), h.Did())
	}
}

func TestHedgeGivesUp(t *testing.T) {
	ids := peers(6)
	h := NewHedge(1, ids, 2)
	asked := 0
	for !h.Ended() {
		for _, id := range h.Tick(noon) {
			asked++
			h.Answered(id, "no room")
		}
	}
	if asked != 3 || h.Why() != "no room" {
		t.Errorf("asked %d nodes, the last trouble was %q", asked, h.Why())
	}
}
