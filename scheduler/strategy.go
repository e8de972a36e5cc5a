package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// candidates picks whom to ask about task k, by the job's strategy: not those
// who have just been full or refused, nor those that have given one of two
// results that differ, and those where the task has failed only when others
// were not to be had for a while.
func (s *Steward) candidates(now time.Time, k protocol.Key, capable []Node) []Node {
	failed := map[peer.ID]bool{}
	for _, f := range s.plan.Ledger.Failures(k) {
		failed[f.By] = true
	}
	contested := s.plan.contested[k]
	held, asked := s.claimed(), s.asked()
	open := slices.DeleteFunc(slices.Clone(capable), func(n Node) bool {
		return s.resting[n.ID].After(now) || asked[n.ID] || contested && s.plan.voted(k, n.ID) || s.room(&n, k.Stage, held) == 0
	})
	if fresh := slices.DeleteFunc(slices.Clone(open), func(n Node) bool { return failed[n.ID] }); len(fresh) > 0 {
		open = fresh
	} else if len(failed) < len(capable) && now.Sub(s.failedAt[k]) < elsewhereWait {
		return nil
	}
	s.sortByLoad(open, held)
	switch s.plan.Manifest.Policy.Strategy {
	case protocol.AtRandom:
		s.rng.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
	case protocol.ByResource:
		slices.SortStableFunc(open, func(a, b Node) int {
			return cmp.Compare(b.Has.Cores-max(b.Load, held[b.ID]), a.Has.Cores-max(a.Load, held[a.ID]))
		})
	case protocol.ByLocality:
		open = nearFirst(open, s.near(k), protocol.OfferFanout)
	default:
		open = nearFirst(open, s.near(k), protocol.OfferFanout/2)
	}
	return first(protocol.OfferFanout, open)
}

// elsewhereWait is how long a failed task waits for a node where it has not
// failed.
const elsewhereWait = 5 * time.Second

// nearFirst puts up to n of the nodes that are near before the others.
func nearFirst(nodes []Node, near []peer.ID, n int) []Node {
	var out, rest []Node
	for _, x := range nodes {
		if len(out) < n && slices.Contains(near, x.ID) {
			out = append(out, x)
		} else {
			rest = append(rest, x)
		}
	}
	return append(out, rest...)
}

// sortByLoad puts the least loaded first, by hint and by what this steward
// knows to be claimed, with chance enough that many stewards do not all ask
// the same.
func (s *Steward) sortByLoad(nodes []Node, claimed map[peer.ID]int) {
	score := make(map[peer.ID]float64, len(nodes))
	for _, n := range nodes {
		load := float64(max(n.Load, claimed[n.ID])) / float64(max(1, n.Slots))
		if n.ID == s.lastFree {
			load -= 0.5
		}
		score[n.ID] = load + s.rng.Float64()/2
	}
	slices.SortStableFunc(nodes, func(a, b Node) int { return cmp.Compare(score[a.ID], score[b.ID]) })
}

// claimed counts what each node is known to hold of the job.
func (s *Steward) claimed() map[peer.ID]int {
	out := map[peer.ID]int{}
	for _, c := range s.claims {
		out[c.by]++
	}
	for _, c := range s.second {
		out[c.by]++
	}
	return out
}

// asked are the nodes that have an offer open: one at a time is enough, and
// their answer to the next would be the same.
func (s *Steward) asked() map[peer.ID]bool {
	out := map[peer.ID]bool{}
	for _, o := range s.offers {
		for _, id := range o.asked {
			if o.bids[id] == nil {
				out[id] = true
			}
		}
	}
	return out
}

// room is how many more tasks of a stage a node would take, as far as this
// steward knows, or 0 while it has enough waiting: it is asked again when half
// of that has been served, so that few messages bring many tasks.
func (s *Steward) room(n *Node, stage int, held map[peer.ID]int) int {
	estimate := s.took[stage].mean()
	slots, cores := max(1, n.Slots), max(1, NeedsOf(s.plan.Manifest, stage).Cores)
	most := max(1, capacity(slots, estimate)/cores)
	room := most - held[n.ID]
	if waiting := most - slots/cores; waiting > 1 && room < (waiting+1)/2 {
		return 0
	}
	return max(0, room)
}

// maxNearInputs bounds the inputs of a task that are looked at for who is near.
const maxNearInputs = 8

// near are the nodes that hold inputs of task k, those with more first.
func (s *Steward) near(k protocol.Key) []peer.ID {
	if k.Stage == 0 {
		return s.sources
	}
	from, count := dependencies(s.plan.Manifest, k)
	holds := map[peer.ID]int64{}
	for i := from; i < from+min(count, maxNearInputs); i++ {
		dep := protocol.Key{Stage: k.Stage - 1, Index: i}
		_, size := s.plan.Result(dep)
		for _, id := range s.plan.Holders(dep, nil) {
			holds[id] += 1 + size
		}
	}
	out := make([]peer.ID, 0, len(holds))
	for id := range holds {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b peer.ID) int { return cmp.Or(cmp.Compare(holds[b], holds[a]), cmp.Compare(a, b)) })
	return out
}

// hand is one bidder while tasks are dealt out.
type hand struct {
	who   peer.ID
	bid   *protocol.Bid
	start time.Duration // until the next task it is given would begin
	room  int
	score float64 // least first
	tasks []protocol.Awarded
}

// missingRate is how many bytes of missing input a nanosecond brings, for the
// prediction of a start: 100 MB/s is a gigabit link.
const missingRate = 0.1

// hands are those who bid for tasks of an offer.
func (s *Steward) hands(o *offer) []*hand {
	var out []*hand
	for _, who := range o.asked {
		b := o.bids[who]
		if b == nil || b.Tasks == 0 {
			continue
		}
		missing := float64(b.Missing)
		if k := o.keys[0]; k.Stage == 0 && len(s.sources) > 0 && !slices.Contains(s.sources, who) {
			missing += float64(s.plan.Manifest.Bytes) / float64(s.plan.Manifest.Stages[0].Tasks)
		}
		fetch := time.Duration(min(missing/missingRate, float64(protocol.MaxEstimate)))
		h := &hand{who: who, bid: b, start: b.Start + fetch, room: b.Tasks}
		if s.plan.Manifest.Policy.Strategy == protocol.ByLocality {
			h.score = missing * float64(time.Hour) // bytes first, then time
		}
		out = append(out, h)
	}
	return out
}

// choose picks who is given the next task, by the job's strategy; nil when
// nobody has room.
func (s *Steward) choose(hands []*hand, estimate time.Duration) *hand {
	var best *hand
	var least float64
	for _, h := range hands {
		if h.room == 0 {
			continue
		}
		var score float64
		switch s.plan.Manifest.Policy.Strategy {
		case protocol.AtRandom:
			score = s.rng.Float64()
		case protocol.ByResource:
			score = -float64(h.bid.Free.Cores-len(h.tasks)) - float64(h.bid.Free.Memory)/(1<<50)
		default:
			finish := float64(h.start+estimate) * s.pace.of(h.who)
			score = h.score + finish*(1+0.15*s.rng.Float64())
		}
		if best == nil || score < least {
			best, least = h, score
		}
	}
	return best
}
