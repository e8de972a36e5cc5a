package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// offer is a batch of tasks that some nodes have been asked about: they are
// ready or, if it is one that runs too slowly, to be run beside another node.
type offer struct {
	beside peer.ID
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
		if n.Can(needs) == "" && !s.plan.distrusted[n.ID] {
			out = append(out, n)
		}
	}
	return out
}

// offerReady asks about ready tasks until all are asked about, nobody is left
// to ask, or enough offers are open.
func (s *Steward) offerReady(now time.Time) []Effect {
	var out []Effect
	s.waiting = s.whatLacks()
	nobody := map[protocol.Key]bool{} // can be asked about these now
	skip := func(k protocol.Key) bool { return nobody[k] || s.back[k].until.After(now) || s.taken(k) }
	for len(s.offers) < maxOffers {
		keys := s.plan.Ready(s.shard, protocol.MaxOfferBatch, skip)
		if len(keys) == 0 {
			break
		}
		capable := s.capable(keys[0].Stage)
		if len(capable) == 0 {
			s.waiting = s.whyNobody(keys[0].Stage)
			break
		}
		special := append(s.plan.Ledger.facts.failedTasks(s.shard), sortedKeys(s.plan.contested)...)
		if len(special) > 0 {
			keys = alone(keys, special)
		}
		ask := s.candidates(now, keys[0], capable)
		if len(ask) == 0 && slices.Contains(special, keys[0]) {
			nobody[keys[0]] = true // others may be asked about the rest
			continue
		}
		if len(ask) == 0 {
			break // all are busy or resting; a receipt or the next tick will tell
		}
		keys = keys[:s.batch(keys, ask)]
		out = append(out, s.open(now, keys, ask, "")...)
	}
	return out
}

// batch is how many of the ready tasks one offer holds: as many as those who
// are asked have room for, fewer while there are more nodes than tasks, and
// never more inputs than one award may name.
func (s *Steward) batch(keys []protocol.Key, ask []Node) int {
	room, held := 0, s.claimed()
	for i := range ask {
		room += s.room(&ask[i], keys[0].Stage, held)
	}
	n := max(1, min(len(keys), room, ceilDiv(len(keys)*len(ask), len(s.nodes))))
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

// alone keeps tasks that have failed, or whose results differ, apart from
// others, since not all nodes are their candidates.
func alone(keys, failed []protocol.Key) []protocol.Key {
	if slices.Contains(failed, keys[0]) {
		return keys[:1]
	}
	return slices.DeleteFunc(keys, func(k protocol.Key) bool { return slices.Contains(failed, k) })
}

func (s *Steward) open(now time.Time, keys []protocol.Key, ask []Node, beside peer.ID) []Effect {
	id := s.rng.Uint64()
	o := &offer{keys: keys, beside: beside, bids: map[peer.ID]*protocol.Bid{}, closes: now.Add(bidWait)}
	s.offers[id] = o
	stage := keys[0].Stage
	message := protocol.Offer{
		Job: s.plan.Job, Reservation: id, Tasks: len(keys),
		Needs: NeedsOf(s.plan.Manifest, stage), Estimate: min(s.took[stage].mean(), protocol.MaxEstimate), Turn: s.turn(stage),
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
	s.story.note(now, protocol.Event{Kind: protocol.EventOffered, Tasks: keys, Peers: o.asked})
	return out
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
	switch {
	case b.Refusal != "":
		s.resting[from] = now.Add(time.Second)
		s.story.note(now, protocol.Event{Kind: protocol.EventRefused, Tasks: o.keys, Peer: from, Text: b.Refusal[:min(len(b.Refusal), protocol.MaxName)]})
		out = append(out, Noted{Job: s.plan.Job, What: "offer refused", Task: o.keys[0], Peer: from, Why: b.Refusal})
	case b.Tasks == 0:
		s.resting[from] = now.Add(min(max(b.Start, idleWait), fullWait)) // or until its next receipt
		s.story.note(now, protocol.Event{Kind: protocol.EventFull, Tasks: o.keys, Peer: from})
	default:
		s.story.note(now, protocol.Event{Kind: protocol.EventBid, Tasks: o.keys, Peer: from, Took: b.Start, Room: b.Tasks})
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
				s.story.note(now, protocol.Event{Kind: protocol.EventSilent, Tasks: o.keys, Peer: n})
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

// award deals an offer's tasks out to its bidders, one after another to the
// best; what nobody takes is ready again.
func (s *Steward) award(now time.Time, id uint64) []Effect {
	o := s.offers[id]
	delete(s.offers, id)
	hands := s.hands(o)
	estimate := max(s.took[o.keys[0].Stage].mean(), time.Millisecond)
	for _, k := range o.keys {
		if !s.wants(k, o.beside) {
			continue // who ran it all along has been heard of meanwhile
		}
		h := s.choose(hands, estimate)
		if h == nil {
			break
		}
		h.room--
		h.tasks = append(h.tasks, protocol.Awarded{Task: k, Inputs: s.inputs(k)})
		c := claim{by: h.who, until: now.Add(protocol.ClaimTTL), awarded: now, predicted: h.start + estimate}
		h.start += estimate
		if o.beside == "" {
			s.claims[k] = c
		} else {
			s.second[k] = c
		}
	}
	var out []Effect
	for _, h := range hands {
		if len(h.tasks) > 0 {
			s.story.note(now, protocol.Event{Kind: protocol.EventAwarded, Tasks: awardedKeys(h.tasks), Peer: h.who})
		}
		out = append(out, Send{To: h.who, Message: &protocol.Award{Job: s.plan.Job, Reservation: id, Tasks: h.tasks, Turn: s.turn(o.keys[0].Stage)}})
	}
	return out
}

func awardedKeys(tasks []protocol.Awarded) []protocol.Key {
	keys := make([]protocol.Key, len(tasks))
	for i, t := range tasks {
		keys[i] = t.Task
	}
	return keys
}

// wants reports whether task k is still to be given away: to somebody, or
// beside the node that runs it too slowly. What it reads may have become
// contested meanwhile, and an award that cannot name it is not even decoded.
func (s *Steward) wants(k protocol.Key, beside peer.ID) bool {
	if !s.plan.needed(k) || !s.plan.ready(k) {
		return false
	}
	c, held := s.claims[k]
	if beside == "" {
		return !held
	}
	_, twice := s.second[k]
	return held && c.by == beside && !twice
}

// turn is what decides when a task of a stage has its turn on a node.
func (s *Steward) turn(stage int) protocol.Turn {
	return TurnOf(s.plan.Manifest, stage, s.took[stage].mean())
}

// TurnOf is what decides when a task of a stage, of which one is expected to take
// that long, has its turn among those that wait on a node.
func TurnOf(m *protocol.Manifest, stage int, estimate time.Duration) protocol.Turn {
	needs := NeedsOf(m, stage)
	return protocol.Turn{
		Submitter: m.Submitter, Queue: m.Policy.Queue, Priority: m.Policy.Priority,
		Estimate: min(estimate, protocol.MaxEstimate), Cores: needs.Cores, Memory: needs.Memory,
	}
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
	return fmt.Sprintf("no live node can run stage %q: %s", s.plan.Manifest.Stages[stage].Name, Reasons(s.nodes, func(n *Node) string {
		if s.plan.distrusted[n.ID] && n.Can(needs) == "" {
			return "others do not agree with results that it gave"
		}
		return n.Can(needs)
	}))
}

// maxReasons is how many nodes are named when none can run something.
const maxReasons = 3

// Reasons names the first of the nodes that cannot run something, each with why
// not.
func Reasons(nodes []Node, why func(*Node) string) string {
	if len(nodes) == 0 {
		return "no live node is known"
	}
	var parts []string
	for i := range nodes[:min(len(nodes), maxReasons)] {
		parts = append(parts, fmt.Sprintf("node %s: %s", nodes[i].ID, why(&nodes[i])))
	}
	switch more := len(nodes) - maxReasons; {
	case more == 1:
		parts = append(parts, "and 1 node more")
	case more > 1:
		parts = append(parts, fmt.Sprintf("and %d nodes more", more))
	}
	return strings.Join(parts, "; ")
}
