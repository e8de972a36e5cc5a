package scheduler

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// free drops the claims that match; who runs a task beside a node that has lost
// it is then the one that holds it.
func (s *Steward) free(now time.Time, match func(protocol.Key, claim) bool, why string) []Effect {
	var out []Effect
	never := map[peer.ID]bool{} // began what it was given
	for _, claims := range []map[protocol.Key]claim{s.second, s.claims} {
		gone := map[protocol.Key]claim{} // few: this is done for every ping
		for k, c := range claims {
			if match(k, c) {
				gone[k] = c
			}
		}
		for _, k := range sortedKeys(gone) {
			c := gone[k]
			delete(claims, k)
			if !c.running && !c.awarded.IsZero() {
				never[c.by] = true
			}
			if s.plan.isDone(k) && !s.plan.tasks.get(k).lost {
				continue
			}
			s.story.note(now, protocol.Event{Kind: protocol.EventLost, Tasks: []protocol.Key{k}, Peer: c.by, Text: why})
			out = append(out, Noted{Job: s.plan.Job, What: "claim lost", Task: k, Peer: c.by, Why: why})
		}
	}
	for id := range never {
		s.dropped[id]++
		if n := s.dropped[id]; n >= droppedOften {
			s.resting[id] = now.Add(min(droppedRest<<min(n, 8), droppedMost))
		}
	}
	s.promote()
	return out
}

// A node that bids and then never begins what it is given, since its disk is
// full for one, is asked more and more seldom, until it has given a result.
const (
	droppedOften = 2
	droppedRest  = 500 * time.Millisecond
	droppedMost  = 5 * time.Second
)

// promote has those that ran a task beside another hold it alone.
func (s *Steward) promote() {
	for _, k := range sortedKeys(s.second) {
		if _, held := s.claims[k]; !held {
			s.claims[k] = s.second[k]
			delete(s.second, k)
		}
	}
}
