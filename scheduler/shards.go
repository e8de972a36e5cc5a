package scheduler

import (
	"time"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// minAwake is how many unfinished columns are worked on at once at least:
	// the last tasks of one run beside the first of others.
	minAwake = 4
	// awakePerSlot is how many tasks of awake columns there are for each slot
	// of the mesh. More would only have their stewards ask nodes that are full.
	awakePerSlot = 4
)

// wake has the stewards of the first unfinished columns look after them, and
// looks again for results of theirs that were lost. It is said at once and
// repeated with every digest, since stewards come and go.
func (s *Steward) wake(now time.Time) []Effect {
	if s.shard > 0 || s.plan.Layout.Shards() == 1 {
		return nil
	}
	again := now.Sub(s.woken) >= protocol.DigestEvery
	if again {
		s.woken, s.awake = now, map[int]bool{}
	}
	var out []Effect
	for shard, room := 1, s.maxAwake(); shard < s.plan.Layout.Shards() && room > 0; shard++ {
		if !s.plan.unfinished(shard) {
			continue
		}
		room--
		if s.awake[shard] {
			continue
		}
		s.awake[shard] = true
		for _, id := range Stewards(string(s.plan.Job), shard, s.plan.Manifest.Copies, s.members) {
			out = append(out, Send{To: id, Message: s.plan.Ledger.Announce(shard, false, true)})
		}
		out = append(out, s.lookAgain(shard)...)
	}
	return out
}

func (s *Steward) maxAwake() int {
	slots := 0
	for _, n := range s.nodes {
		slots += n.Slots
	}
	return max(minAwake, ceilDiv(awakePerSlot*slots, s.plan.Layout.leaves))
}

// lookAgain asks for a column's lost tops once more: its stewards are told, or
// they are found after all.
func (s *Steward) lookAgain(shard int) []Effect {
	check := Check{Job: s.plan.Job}
	for _, k := range s.plan.Layout.tops(shard) {
		if s.plan.tasks.get(k).lost {
			check.Task, check.Deps = k, append(check.Deps, k)
		}
	}
	if len(check.Deps) == 0 {
		return nil
	}
	return []Effect{check}
}

// settle asks, while the shard is complete, for copies of what the root joins.
func (s *Steward) settle(now time.Time) []Effect {
	if s.copied || !s.plan.settles(s.shard) || now.Sub(s.settled) < settleEvery {
		return nil
	}
	s.settled = now
	return []Effect{s.plan.settle(s.shard)}
}

// Over reports whether nothing is left to do for a column: its stewards rest
// then, until something of it is lost.
func (s *Steward) Over() bool {
	return s.shard > 0 && s.plan.complete(s.shard) && (s.copied || !s.plan.settles(s.shard))
}

// rest stands back from a column that is over. Its stewards no longer ping each
// other of it: when it is not over after all they wait for each other anew.
func (s *Steward) rest(now time.Time) []Effect {
	s.ranked = now
	if !s.acting {
		return nil
	}
	s.acting, s.waiting = false, ""
	s.story.shorten()
	clear(s.claims)
	clear(s.second)
	return s.dropOffers()
}

// Settled notes that what the root joins of the shard is held by enough nodes.
func (s *Steward) Settled() { s.copied = true }

// Asks reports whether an offer of that number is open.
func (s *Steward) Asks(reservation uint64) bool { return s.offers[reservation] != nil }

// Progress is how far the shard is; nothing unless this node acts for it.
func (s *Steward) Progress() (p protocol.Progress, acting bool) {
	running, queued := s.held()
	return protocol.Progress{
		Job: s.plan.Job, Shard: s.shard, Done: s.plan.ShardDone(s.shard), Running: running, Queued: queued,
		Executions: s.plan.Ledger.executions(s.shard), Waiting: s.waiting[:min(len(s.waiting), 4*protocol.MaxName)],
	}, s.acting
}

// reported is how far another shard said to be, and when.
type reported struct {
	protocol.Progress
	at time.Time
}

// Reported notes, for a steward of the job shard, how far another shard is.
func (s *Steward) Reported(now time.Time, p protocol.Progress) {
	if s.shard == 0 && p.Shard > 0 && p.Shard < s.plan.Layout.Shards() {
		s.progress[p.Shard] = reported{p, now}
	}
}

// addShards adds to the job shard's account what is known of the others: from
// receipts that are here, and from what their stewards say.
func (s *Steward) addShards(now time.Time, st *protocol.JobState) {
	st.Shards = s.plan.Layout.Shards()
	for shard := 1; shard < st.Shards; shard++ {
		p, known := s.progress[shard]
		if !known {
			continue
		}
		tasks := s.plan.Layout.Tasks(shard)
		if here := s.plan.ShardDone(shard); p.Done > here {
			st.Done += min(p.Done, tasks) - here
		}
		st.Executions += max(0, p.Executions-s.plan.Ledger.executions(shard))
		if now.Sub(p.at) < protocol.ClaimTTL && !st.State.Ended() {
			st.Running += min(p.Running, tasks)
			st.Queued += min(p.Queued, tasks)
			if st.Waiting == "" {
				st.Waiting = p.Waiting
			}
		}
	}
}

// held counts the claimed tasks that are not done: those that run, and those
// that wait on a node.
func (s *Steward) held() (running, queued int) {
	for k, c := range s.claims {
		if r, _ := s.plan.Result(k); r != "" {
			continue
		}
		if c.running {
			running++
		} else {
			queued++
		}
	}
	return running, queued
}

// Heard are the shards of which a ledger holds a receipt or a failed run; the
// job shard is among them. Their stewards are told so.
func (p *Plan) Heard() []int {
	out := []int{0}
	for shard := 1; shard < p.Layout.Shards(); shard++ {
		if p.Ledger.facts.failed[shard] > 0 || p.Ledger.tasks.written(shard) {
			out = append(out, shard)
		}
	}
	return out
}

// Awake are the shards among those heard of that are not known to be finished.
func (p *Plan) Awake() []int {
	var out []int
	for _, shard := range p.Heard() {
		if shard == 0 || !p.complete(shard) {
			out = append(out, shard)
		}
	}
	return out
}
