package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Settlement decides when a job may be stated final: when enough live nodes
// hold every block of the root's DAG, and the receipts that say what they are
// (rules R2 and R5). First come the parts that the root joins, wherever they
// lie, then what joins them, whose nodes need little more than the parts.
type Settlement struct {
	last  []protocol.CID
	want  int
	alive []peer.ID
	keeps []peer.ID
	key   string
	place *Placement // of the parts, then of what joins them
	ended bool
	why   string
	lost  bool
}

// NewSettlement returns the settlement of results of a job, and of last, which
// join them, on want nodes, the first keepers in the job's order.
func NewSettlement(job protocol.CID, parts, last []protocol.CID, want int, alive, keepers []peer.ID) *Settlement {
	s := &Settlement{
		last: last, want: want, alive: alive, keeps: keepers, key: string(job),
		place: NewPlacement(string(job), parts, want, alive, keepers),
	}
	if slices.Equal(parts, last) { // one file joined is that file
		s.becomeLast()
	}
	return s
}

// becomeLast goes on from the parts to what joins them.
func (s *Settlement) becomeLast() {
	s.place = NewPlacement(s.key, s.last, s.want, s.alive, s.keeps)
	s.place.scattered, s.place.last = true, true
}

// SetNodes tells that the view has changed.
func (s *Settlement) SetNodes(now time.Time, alive []peer.ID) []Effect {
	return s.step(now, s.place.SetNodes(now, alive))
}

// Alive notes that a node which copies lives and is at work.
func (s *Settlement) Alive(now time.Time, id peer.ID) { s.place.Alive(now, id) }

// Answered takes the reply to an Ask. One about the parts does not belong to
// the placement of what joins them.
func (s *Settlement) Answered(now time.Time, r Reply) []Effect {
	if r.Ask.Last != s.place.last && r.Gone == "" {
		return nil
	}
	return s.step(now, s.place.Answered(now, r))
}

// Tick does what is due.
func (s *Settlement) Tick(now time.Time) []Effect { return s.step(now, s.place.Tick(now)) }

// step goes on from the parts to the root, and from there to the end.
func (s *Settlement) step(now time.Time, out []Effect) []Effect {
	if s.ended || !s.place.Ended() {
		return out
	}
	p := s.place.Result()
	switch {
	case !p.Enough():
		s.ended, s.lost = true, len(p.Lost) > 0
		s.why = fmt.Sprintf("only %d of %d nodes hold %s of the result: %s", p.Copies, p.Want, p.Lacks, p.Why)
	case s.place.last:
		s.ended = true
	default:
		s.becomeLast()
		out = append(out, s.place.Tick(now)...)
	}
	return out
}

// Ended reports whether the result is held, or cannot be now.
func (s *Settlement) Ended() bool { return s.ended }

// Failed says why the job must not be stated final, or "".
func (s *Settlement) Failed() string { return s.why }

// Lost reports whether it failed since nobody holds some block any more.
func (s *Settlement) Lost() bool { return s.lost }

// Copies is how many nodes hold the result.
func (s *Settlement) Copies() int { return s.place.Copies() }

// Results are the results of tasks that count, each once, in a fixed order, and
// the receipts that say what they are.
func (p *Plan) Results(keys []protocol.Key) ([]protocol.CID, map[protocol.CID]protocol.SignedReceipt) {
	vouchers := map[protocol.CID]protocol.SignedReceipt{}
	var out []protocol.CID
	for _, k := range keys {
		result, _ := p.Result(k)
		if _, known := vouchers[result]; known || !result.Defined() {
			continue
		}
		out = append(out, result)
		for _, e := range p.Ledger.tasks.get(k).receipts {
			if e.open.Result == result {
				vouchers[result] = e.signed
				break
			}
		}
	}
	return out, vouchers
}
