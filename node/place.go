package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// maxHoldRoots is how many roots one call names.
const maxHoldRoots = 256

// holders is who holds which whole DAGs, and with which boot ID they said so.
type holders struct {
	by    map[protocol.CID][]peer.ID // sorted as the nodes were asked
	boots map[peer.ID]uint64
}

// findHolders asks nodes which of the roots they hold. Nodes that do not
// answer within the wait hold nothing.
func (n *Node) findHolders(ctx context.Context, roots []protocol.CID, ask []peer.ID, wait time.Duration) holders {
	found := holders{by: map[protocol.CID][]peer.ID{}, boots: map[peer.ID]uint64{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range ask {
		wg.Go(func() {
			for list := range slices.Chunk(roots, maxHoldRoots) {
				a, err := n.caller.call(ctx, id, &protocol.Request{Held: &protocol.Held{Roots: list}}, wait)
				if err != nil || len(a.Held) != len(list) {
					return
				}
				if a.Can != nil {
					n.able(ctx, id, ability{a.Boot, *a.Can})
				}
				mu.Lock()
				found.boots[id] = a.Boot
				for i, held := range a.Held {
					if held {
						found.by[list[i]] = append(found.by[list[i]], id)
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for _, ids := range found.by {
		slices.SortFunc(ids, func(a, b peer.ID) int { return slices.Index(ask, a) - slices.Index(ask, b) })
	}
	return found
}

// ofAll are the nodes that hold every one of the roots.
func (h holders) ofAll(roots []protocol.CID) []peer.ID {
	all := slices.Clone(h.by[roots[0]])
	for _, c := range roots[1:] {
		all = slices.DeleteFunc(all, func(id peer.ID) bool { return !slices.Contains(h.by[c], id) })
	}
	return all
}

// place has whole DAGs held by min(copies, live) nodes: by those that hold
// them already, then by the first in the rendezvous order of key. It returns
// with how many copies the least copied root is held.
func (n *Node) place(ctx context.Context, key string, roots []protocol.CID, copies int) (int, error) {
	ranked := scheduler.Rank(key, n.storing())
	copies = min(copies, len(ranked))
	found := n.findHolders(ctx, roots, n.mesh.Alive(), callWait)
	count := func(c protocol.CID) int { // a node that only submits keeps nothing for others
		return len(slices.DeleteFunc(slices.Clone(found.by[c]), func(id peer.ID) bool { return !slices.Contains(ranked, id) }))
	}
	lacking := func() []protocol.CID {
		return slices.DeleteFunc(slices.Clone(roots), func(c protocol.CID) bool { return count(c) >= copies })
	}
	var last error
	failures := 0
	for _, target := range ranked {
		missing := slices.DeleteFunc(lacking(), func(c protocol.CID) bool { return slices.Contains(found.by[c], target) })
		if len(missing) == 0 {
			continue
		}
		if failures > maxHoldFailures || ctx.Err() != nil {
			break
		}
		if err := n.holdFrom(ctx, target, missing, found); err != nil {
			failures++
			last = err
			continue
		}
		for _, c := range missing {
			found.by[c] = append(found.by[c], target)
		}
	}
	least := len(ranked)
	for _, c := range roots {
		if len(found.by[c]) == 0 {
			return 0, fmt.Errorf("%w: %s", ErrNotFound, c)
		}
		least = min(least, count(c))
	}
	if least < copies {
		return least, fmt.Errorf("only %d of %d copies could be made: %w", least, copies, last)
	}
	return least, ctx.Err()
}

// holdFrom has one node hold roots, each from those that hold it: one call for
// all roots with the same holders.
func (n *Node) holdFrom(ctx context.Context, target peer.ID, roots []protocol.CID, found holders) error {
	groups := map[string][]protocol.CID{}
	for _, c := range roots {
		key := fmt.Sprint(found.by[c])
		groups[key] = append(groups[key], c)
	}
	for _, list := range groups {
		sources := found.by[list[0]]
		if len(sources) == 0 {
			return fmt.Errorf("%w: %s", ErrNotFound, list[0])
		}
		for part := range slices.Chunk(list, maxHoldRoots) {
			q := &protocol.Request{Hold: &protocol.Hold{Roots: part, Sources: sources[:min(len(sources), protocol.MaxCopies)]}}
			if _, err := n.caller.call(ctx, target, q, holdWait); err != nil {
				return err
			}
		}
	}
	return nil
}

// Holders are the live nodes that hold all of the DAG under root.
func (n *Node) Holders(ctx context.Context, root protocol.CID) []peer.ID {
	return n.findHolders(ctx, []protocol.CID{root}, n.mesh.Alive(), callWait).by[root]
}

// settle has what the root joins of a shard held by enough nodes; the job shard
// then states the job final.
func (l *loop) settle(e scheduler.Settle) {
	j := l.jobs[e.Job]
	if j == nil || j.settling[e.Shard] {
		return
	}
	j.settling[e.Shard] = true
	parts, last := j.results(e.Parts), j.results(e.Last)
	copies := j.plan.Manifest.Copies
	l.n.wg.Go(func() {
		held, err := l.n.holdJoined(l.n.ctx, e.Job, parts, last, copies)
		l.n.loop.post(l.n.ctx, func(now time.Time) {
			j.settling[e.Shard] = false
			switch {
			case err != nil:
				l.n.log.Info("results not held by enough nodes yet", "job", e.Job, "shard", e.Shard, "copies", held, "error", err)
				l.lost(e, err)
			case j.ended:
			case e.Shard == 0:
				l.state(now, protocol.Fact{Job: e.Job, Kind: protocol.Final, At: now, Root: e.Root, Copies: held})
			case j.stewards[e.Shard] != nil:
				j.stewards[e.Shard].Settled()
			}
		})
	})
}

// results are those of some tasks that are known here, each once.
func (j *job) results(keys []protocol.Key) []protocol.CID {
	var out []protocol.CID
	for _, k := range keys {
		if c, _ := j.plan.Result(k); c.Defined() {
			out = append(out, c)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// holdJoined places parts, then what joins them, whose nodes need only the
// parts.
func (n *Node) holdJoined(ctx context.Context, job protocol.CID, parts, last []protocol.CID, copies int) (int, error) {
	if held, err := n.place(ctx, string(job), parts, copies); err != nil {
		return held, err
	}
	return n.place(ctx, string(job), last, copies)
}

// lost looks, when what the root joins cannot be placed, for results that
// nobody holds any more, so that they are computed again.
func (l *loop) lost(e scheduler.Settle, err error) {
	j := l.jobs[e.Job]
	if j == nil || !isNotFound(err) {
		return
	}
	byStage := map[int][]protocol.Key{}
	for _, k := range j.plan.Joins(e.Shard) {
		byStage[k.Stage] = append(byStage[k.Stage], k)
	}
	for _, keys := range inOrder(byStage) {
		l.check(scheduler.Check{Job: e.Job, Shard: e.Shard, Task: keys[0], Deps: keys})
	}
}

// check asks all nodes for results that a worker could not read. Those that
// nobody has are lost, and run again: those of other shards by their stewards,
// who look for themselves.
func (l *loop) check(e scheduler.Check) {
	j := l.jobs[e.Job]
	if j == nil || j.checking[e.Task] {
		return
	}
	j.checking[e.Task] = true
	roots := make([]protocol.CID, len(e.Deps))
	for i, k := range e.Deps {
		roots[i], _ = j.plan.Result(k)
	}
	l.n.wg.Go(func() {
		found := l.n.findHolders(l.n.ctx, slices.DeleteFunc(slices.Clone(roots), func(c protocol.CID) bool { return !c.Defined() }), l.n.mesh.Alive(), callWait)
		l.n.loop.post(l.n.ctx, func(now time.Time) {
			delete(j.checking, e.Task)
			l.checked(now, j, e, roots, found)
		})
	})
}

func (l *loop) checked(now time.Time, j *job, e scheduler.Check, roots []protocol.CID, found holders) {
	var lost []protocol.Key // of other shards
	for i, k := range e.Deps {
		c, _ := j.plan.Result(k)
		if !c.Defined() || c != roots[i] {
			continue
		}
		if len(found.by[c]) > 0 {
			j.plan.Find(k)
			continue
		}
		l.n.log.Info("result lost, to be computed again", "job", e.Job, "task", k)
		j.plan.Lose(k)
		if j.plan.Layout.ShardOf(k) != e.Shard {
			lost = append(lost, k)
		}
	}
	if j.ended {
		return
	}
	for shard, keys := range inOrder(j.plan.Layout.ByShard(lost)) {
		for _, id := range j.stewardsOf(shard) {
			l.send(id, &protocol.Lost{Job: e.Job, Tasks: keys})
		}
	}
	l.tickAll(now, j)
}
