package node

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// newJob is a job of which this node knows the manifest. It looks after shards
// of it as it is told to; of the job shard it keeps the account from the
// beginning.
func (l *loop) newJob(now time.Time, id protocol.CID, m *protocol.Manifest) *job {
	j := &job{
		plan: scheduler.NewPlan(id, m), ranks: scheduler.NewRanks(id, m.Copies), stewards: map[int]*scheduler.Steward{},
		settling: map[int]bool{}, checking: map[protocol.Key]bool{},
	}
	j.ranks.SetNodes(l.nodes)
	j.steward = l.look(now, j, 0)
	return j
}

// look has this node look after a shard from now on.
func (l *loop) look(now time.Time, j *job, shard int) *scheduler.Steward {
	if st := j.stewards[shard]; st != nil {
		return st
	}
	st := scheduler.NewSteward(j.plan, shard, l.n.id, randomSource())
	st.SetSources(j.sources)
	st.SetClock(l.clock)
	j.stewards[shard] = st
	l.perform(now, st.SetNodes(now, l.nodes))
	return st
}

// wake has this node look after a shard that it has been told of, if it ranks
// among the shard's stewards.
func (l *loop) wake(now time.Time, j *job, shard int) {
	if !j.ended && shard < j.plan.Layout.Shards() && slices.Contains(j.stewardsOf(shard), l.n.id) {
		l.look(now, j, shard)
	}
}

// each walks this node's stewards of the job in the order of their shards.
func (j *job) each() iter.Seq2[int, *scheduler.Steward] { return inOrder(j.stewards) }

// inOrder walks a map in the order of its keys, without those that go meanwhile.
func inOrder[V any](m map[int]V) iter.Seq2[int, V] {
	return func(yield func(int, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if v, there := m[k]; there && !yield(k, v) {
				return
			}
		}
	}
}

// stewardsOf are a shard's present stewards, in rank order.
func (j *job) stewardsOf(shard int) []peer.ID {
	if st := j.stewards[shard]; st != nil {
		return st.Stewards()
	}
	return j.ranks.Of(shard)
}

// of is this node's steward of the shard that task k belongs to, or nil.
func (j *job) of(k protocol.Key) *scheduler.Steward { return j.stewards[j.plan.Layout.ShardOf(k)] }

// asker is the steward that made an offer; any of them when it is closed.
func (j *job) asker(reservation uint64) *scheduler.Steward {
	for _, st := range j.stewards {
		if st.Asks(reservation) {
			return st
		}
	}
	return j.steward
}

// acting reports whether this node offers tasks of the job now.
func (j *job) acting() bool {
	for _, st := range j.stewards {
		if st.Acting() {
			return true
		}
	}
	return false
}

// setSources tells who holds all that the first stage reads.
func (j *job) setSources(ids []peer.ID) {
	j.sources = ids
	for _, st := range j.stewards {
		st.SetSources(ids)
	}
}

// tickAll lets all of this node's stewards of a job do what is due.
func (l *loop) tickAll(now time.Time, j *job) {
	for _, st := range j.each() {
		l.perform(now, st.Tick(now))
	}
}

// tickSome does so for the stewards of some shards.
func (l *loop) tickSome(now time.Time, j *job, shards map[int]bool) {
	for shard := range inOrder(shards) {
		if st := j.stewards[shard]; st != nil {
			l.perform(now, st.Tick(now))
		}
	}
}

// reseat tells a job's stewards who lives, and new stewards of shards what is
// known here of them.
func (l *loop) reseat(now time.Time, j *job) {
	before := map[int][]peer.ID{}
	heard := j.plan.Heard()
	for _, shard := range heard {
		before[shard] = j.stewardsOf(shard)
	}
	j.ranks.SetNodes(l.nodes)
	for _, st := range j.each() {
		l.perform(now, st.SetNodes(now, l.nodes))
	}
	for _, shard := range heard {
		if !slices.Equal(before[shard], j.stewardsOf(shard)) {
			l.announce(j, shard)
		}
	}
}

// announce tells a shard's stewards what this node has of it, which wakes those
// that do not know it yet.
func (l *loop) announce(j *job, shard int) {
	stewards := j.stewardsOf(shard)
	for _, id := range stewards {
		if id != l.n.id {
			l.n.wire.send(id, j.plan.Ledger.Announce(shard, slices.Contains(stewards, l.n.id), true))
		}
	}
}
