package scheduler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// speculateEvery is how often a steward looks for stragglers.
	speculateEvery = 250 * time.Millisecond
	// speculateShare is the share of a stage's tasks that may run twice at
	// once because they are slow; one at least.
	speculateShare = 0.05
	// fewLeft is how many tasks of a stage are its end, at which idle slots run
	// again whatever is not short.
	fewLeft = 10
	// enoughSamples is how many tasks of a stage must be done before their
	// durations say what is slow.
	enoughSamples = 20
	// patience is for how long a task at the end of a stage runs alone, at
	// least, and unknownPatience where no task of the stage is done yet.
	patience        = time.Second
	unknownPatience = 10 * time.Second
)

// speculate offers tasks that run for too long to a second node, once nothing
// of the stage is left to offer (Dean and Ghemawat's backup tasks, 2004): the
// node may be slow, or stuck and still alive.
func (s *Steward) speculate(now time.Time) []Effect {
	if now.Sub(s.speculated) < speculateEvery || len(s.offers) > 0 {
		return nil
	}
	s.speculated = now
	if len(s.plan.Ready(s.shard, 1, s.taken)) > 0 {
		return nil
	}
	s.giveUpOn(now)
	var out []Effect
	for _, k := range s.stragglers(now) {
		if len(s.offers) >= maxOffers {
			break
		}
		c := s.claims[k]
		ask := s.candidates(now, k, slices.DeleteFunc(s.capable(k.Stage), func(n Node) bool { return n.ID == c.by || slices.Contains(c.from, n.ID) }))
		if len(ask) == 0 {
			continue
		}
		why := fmt.Sprintf("it runs for %s; of the %d tasks of its stage that are done, 95 %% took less than %s",
			now.Sub(c.began).Round(time.Millisecond), s.took[k.Stage].n, s.took[k.Stage].quantile(0.95).Round(time.Millisecond))
		s.story.note(now, protocol.Event{Kind: protocol.EventSpeculate, Tasks: []protocol.Key{k}, Peer: c.by, Text: why})
		out = append(out, Noted{Job: s.plan.Job, What: "slow task offered again", Task: k, Peer: c.by, Why: why})
		out = append(out, s.open(now, []protocol.Key{k}, ask, c.by)...)
	}
	return out
}

// giveUpOn stops waiting for the first of two nodes that both run a task for far
// too long: both may be stuck, and a third is to be asked.
func (s *Steward) giveUpOn(now time.Time) {
	for _, k := range sortedKeys(s.second) {
		c := s.second[k]
		if c.running && now.Sub(c.began) >= 2*s.tooLong(k.Stage, true) {
			c.from = append(first(maxHolders, s.claims[k].from), s.claims[k].by)
			s.claims[k] = c
			delete(s.second, k)
		}
	}
}

// stragglers are the running tasks that are too slow and run only once,
// slowest first, as many as the budget allows.
func (s *Steward) stragglers(now time.Time) []protocol.Key {
	left, twice := map[int]int{}, map[int]int{}
	for k := range s.claims {
		left[k.Stage]++
	}
	for k := range s.second {
		twice[k.Stage]++
	}
	idle := s.idleSlot()
	var out []protocol.Key
	for _, k := range sortedKeys(s.claims) {
		c := s.claims[k]
		_, second := s.second[k]
		if !c.running || second || s.plan.isDone(k) || !s.plan.ready(k) {
			continue
		}
		end := left[k.Stage] < fewLeft && idle
		if now.Sub(c.began) >= s.tooLong(k.Stage, end) {
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b protocol.Key) int { return s.claims[a].began.Compare(s.claims[b].began) })
	return slices.DeleteFunc(out, func(k protocol.Key) bool {
		budget := max(1, int(speculateShare*float64(s.plan.Manifest.Stages[k.Stage].Tasks)))
		if left[k.Stage] < fewLeft && idle {
			budget = fewLeft
		}
		twice[k.Stage]++
		return twice[k.Stage] > budget
	})
}

// tooLong is from when on a task of a stage is slow; end says that few are
// left and there are nodes with nothing to do.
func (s *Steward) tooLong(stage int, end bool) time.Duration {
	took := &s.took[stage]
	slow := max(2*took.quantile(0.95), 3*took.quantile(0.5))
	switch {
	case end && took.n == 0:
		return unknownPatience
	case end:
		return max(patience, min(slow, 3*took.quantile(0.5)/2))
	case took.n < enoughSamples:
		return protocol.MaxEstimate
	}
	return slow
}

// idleSlot reports whether some node has a slot free, by what is known here and
// by what it says.
func (s *Steward) idleSlot() bool {
	held := s.claimed()
	return slices.ContainsFunc(s.nodes, func(n Node) bool { return max(n.Load, held[n.ID]) < n.Slots && !n.NoWork })
}

// release tells nodes that still hold a task which is done that they need not
// run it.
func (s *Steward) release(now time.Time, r *protocol.Receipt) []Effect {
	var out []Effect
	for _, c := range []claim{s.claims[r.Task], s.second[r.Task]} {
		if !s.acting || c.by == "" || c.by == r.Worker || !s.plan.isDone(r.Task) {
			continue
		}
		s.story.note(now, protocol.Event{Kind: protocol.EventReleased, Tasks: []protocol.Key{r.Task}, Peer: c.by})
		out = append(out, Send{To: c.by, Message: &protocol.Release{Job: s.plan.Job, Tasks: []protocol.Key{r.Task}}})
	}
	return out
}

// pace is how much longer each node takes than predicted, as a moving mean.
type pace map[peer.ID]float64

const (
	// paceWeight is what the latest task counts in a node's pace.
	paceWeight = 0.2
	// paceBound is the most that a node may be taken to be slower, or
	// faster, than it says.
	paceBound = 4.0
)

func (p pace) note(id peer.ID, predicted, actual time.Duration) {
	if predicted < time.Millisecond {
		return
	}
	ratio := min(max(float64(actual)/float64(predicted), 1/paceBound), paceBound)
	p[id] = (1-paceWeight)*p.of(id) + paceWeight*ratio
}

func (p pace) of(id peer.ID) float64 { return cmp.Or(p[id], 1) }
