package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// offer is a batch of ready tasks that some nodes have been asked about.
type offer struct {
	keys   []protocol.Key
	asked  []peer.ID
	bids   map[peer.ID]*protocol.Bid
	closes time.Time
}

// capable are the live nodes that can run a stage's tasks.
func (s *Steward) capable(stage int) []Node {
	needs := NeedsOf(s.plan.Manifest, stage)
	var out []Node
	for _, n := range s.nodes {
		if n.Can(needs) == "" {
			out = append(out, n)
		}
	}
	return out
}

// offerReady asks about ready tasks until all are asked about, nobody is left
// to ask, or enough offers are open.
func (s *Steward) offerReady(now time.Time) []Effect {
	var out []Effect
	s.waiting = ""
	for len(s.offers) < maxOffers {
		keys := s.plan.Ready(protocol.MaxOfferBatch, s.taken)
		if len(keys) == 0 {
			break
		}
		capable := s.capable(keys[0].Stage)
		if len(capable) == 0 {
			s.waiting = s.whyNobody(keys[0].Stage)
			break
		}
		if failed := s.plan.failedTasks(); len(failed) > 0 {
			keys = alone(keys, failed)
		}
		keys = keys[:s.batch(keys, len(capable))]
		ask := s.candidates(now, keys[0], capable)
		if len(ask) == 0 {
			break // all are busy or resting; a receipt or the next tick will tell
		}
		out = append(out, s.open(now, keys, ask)...)
	}
	return out
}

// batch is how many of the ready tasks one offer holds: few while there are
// more nodes than tasks, and never more inputs than one award may name.
func (s *Steward) batch(keys []protocol.Key, nodes int) int {
	n := max(1, min(len(keys), ceilDiv(len(keys)*protocol.OfferFanout, nodes)))
	inputs := 0
	for i, k := range keys[:n] {
		_, count := dependencies(s.plan.Manifest, k)
		if inputs += count; inputs > protocol.MaxInputs && i > 0 {
			return i
		}
	}
	return n
}

func (s *Steward) taken(k protocol.Key) bool {
	if _, held := s.claims[k]; held {
		return true
	}
	for _, o := range s.offers {
		if slices.Contains(o.keys, k) {
			return true
		}
	}
	return false
}

// alone keeps tasks that have failed before apart from others, since nodes
// where they failed are not their candidates.
func alone(keys, failed []protocol.Key) []protocol.Key {
	if slices.Contains(failed, keys[0]) {
		return keys[:1]
	}
	return slices.DeleteFunc(keys, func(k protocol.Key) bool { return slices.Contains(failed, k) })
}

// candidates picks whom to ask: the least loaded by hint and by what this
// steward knows to be claimed, with chance enough that many stewards do not
// all ask the same, and not those where the task has failed while others can
// be asked.
func (s *Steward) candidates(now time.Time, k protocol.Key, capable []Node) []Node {
	claimed := map[peer.ID]int{}
	for _, c := range s.claims {
		claimed[c.by]++
	}
	asked := map[peer.ID]int{}
	for _, o := range s.offers {
		for _, id := range o.asked {
			asked[id]++
		}
	}
	failed := map[peer.ID]bool{}
	for _, f := range s.plan.Ledger.Failures(k) {
		failed[f.By] = true
	}
	type scored struct {
		node  Node
		score float64
	}
	var pool []scored
	for _, n := range capable {
		if s.resting[n.ID].After(now) || failed[n.ID] && len(failed) < len(capable) {
			continue
		}
		load := float64(max(n.Load, claimed[n.ID])+asked[n.ID]) / float64(max(1, n.Slots))
		if n.ID == s.lastFree {
			load -= 0.5
		}
		pool = append(pool, scored{n, load + s.rng.Float64()/2})
	}
	slices.SortStableFunc(pool, func(a, b scored) int { return cmp.Compare(a.score, b.score) })
	var out []Node
	for _, p := range first(protocol.OfferFanout, pool) {
		out = append(out, p.node)
	}
	return out
}

func (s *Steward) open(now time.Time, keys []protocol.Key, ask []Node) []Effect {
	id := s.rng.Uint64()
	o := &offer{keys: keys, bids: map[peer.ID]*protocol.Bid{}, closes: now.Add(bidWait)}
	s.offers[id] = o
	stage := keys[0].Stage
	message := protocol.Offer{
		Job: s.plan.Job, Reservation: id, Tasks: len(keys),
		Needs: NeedsOf(s.plan.Manifest, stage), Estimate: s.took[stage].mean(),
	}
	for _, in := range first(protocol.MaxOfferBatch, s.plan.Inputs(keys[0], nil)) {
		message.Inputs = append(message.Inputs, protocol.Sized{CID: in.CID, Size: in.Size})
	}
	var out []Effect
	for _, n := range ask {
		o.asked = append(o.asked, n.ID)
		m := message
		out = append(out, Send{To: n.ID, Message: &m})
	}
	return out
}

func (a average) mean() time.Duration {
	if a.n == 0 {
		return 0
	}
	return a.sum / time.Duration(a.n)
}

// Bid takes an answer to an offer; when it was the last, the tasks are
// awarded.
func (s *Steward) Bid(now time.Time, from peer.ID, b *protocol.Bid) []Effect {
	o := s.offers[b.Reservation]
	if o == nil || !slices.Contains(o.asked, from) {
		if b.Tasks > 0 { // too late: free what it has reserved
			return []Effect{Send{To: from, Message: &protocol.Award{Job: s.plan.Job, Reservation: b.Reservation}}}
		}
		return nil
	}
	o.bids[from] = b
	var out []Effect
	if b.Tasks == 0 {
		s.resting[from] = now.Add(idleWait)
	}
	if b.Refusal != "" {
		s.resting[from] = now.Add(time.Second)
		out = append(out, Noted{Job: s.plan.Job, What: "offer refused", Task: o.keys[0], Peer: from, Why: b.Refusal})
	}
	if len(o.bids) == len(o.asked) {
		out = append(out, s.award(now, b.Reservation)...)
	}
	return out
}

// closeOffers awards what bids have come in for when their time is up.
func (s *Steward) closeOffers(now time.Time) []Effect {
	var out []Effect
	for _, id := range s.offerIDs() {
		o := s.offers[id]
		if o.closes.After(now) {
			continue
		}
		for _, n := range o.asked {
			if o.bids[n] == nil {
				s.resting[n] = now.Add(10 * idleWait)
			}
		}
		out = append(out, s.award(now, id)...)
	}
	return out
}

func (s *Steward) offerIDs() []uint64 {
	ids := make([]uint64, 0, len(s.offers))
	for id := range s.offers {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (s *Steward) dropOffers() []Effect {
	var out []Effect
	for _, id := range s.offerIDs() {
		for _, n := range s.offers[id].asked {
			out = append(out, Send{To: n, Message: &protocol.Award{Job: s.plan.Job, Reservation: id}})
		}
	}
	s.offers = map[uint64]*offer{}
	return out
}

// missingRate is how many bytes of missing input a nanosecond brings, for the
// prediction of a start: 100 MB/s is a gigabit link.
const missingRate = 0.1

// award deals an offer's tasks out to its bidders, one after another to the
// earliest predicted start; what nobody takes is ready again.
func (s *Steward) award(now time.Time, id uint64) []Effect {
	o := s.offers[id]
	delete(s.offers, id)
	type hand struct {
		who   peer.ID
		start time.Duration
		room  int
		tasks []protocol.Awarded
	}
	var hands []*hand
	for _, who := range o.asked {
		if b := o.bids[who]; b != nil && b.Tasks > 0 {
			start := b.Start + time.Duration(float64(b.Missing)/missingRate)
			start += time.Duration(s.rng.Int64N(int64(start)*15/100 + int64(time.Millisecond)))
			hands = append(hands, &hand{who: who, start: start, room: b.Tasks})
		}
	}
	estimate := max(s.took[o.keys[0].Stage].mean(), time.Millisecond)
	for _, k := range o.keys {
		if _, held := s.claims[k]; held || !s.plan.needed(k) {
			continue // who ran it all along has been heard of meanwhile
		}
		slices.SortStableFunc(hands, func(a, b *hand) int { return cmp.Compare(a.start, b.start) })
		at := slices.IndexFunc(hands, func(h *hand) bool { return h.room > 0 })
		if at < 0 {
			break
		}
		h := hands[at]
		h.room--
		h.start += estimate
		h.tasks = append(h.tasks, protocol.Awarded{Task: k, Inputs: s.inputs(k)})
		s.claims[k] = claim{by: h.who, until: now.Add(protocol.ClaimTTL), awarded: now}
	}
	var out []Effect
	for _, h := range hands {
		out = append(out, Send{To: h.who, Message: &protocol.Award{Job: s.plan.Job, Reservation: id, Tasks: h.tasks}})
	}
	return out
}

// inputs are what task k reads, with who holds it.
func (s *Steward) inputs(k protocol.Key) []protocol.Input {
	inputs := s.plan.Inputs(k, s.stewards)
	if k.Stage == 0 {
		inputs[0].Holders = s.sources
	}
	return inputs
}

// whyNobody says in plain words why no live node can run a stage.
func (s *Steward) whyNobody(stage int) string {
	needs := NeedsOf(s.plan.Manifest, stage)
	for _, n := range s.nodes {
		if why := n.Can(needs); why != "" {
			return fmt.Sprintf("no live node can run stage %q: of %d nodes, %s for one says %s", s.plan.Manifest.Stages[stage].Name, len(s.nodes), n.ID, why)
		}
	}
	return "no live node is known"
}
