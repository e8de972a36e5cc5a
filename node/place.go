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

// settle has the root's DAG held by enough nodes and then states the job
// final.
func (l *loop) settle(e scheduler.Settle) {
	j := l.jobs[e.Job]
	if j == nil || j.settling {
		return
	}
	j.settling = true
	stage := scheduler.DataStage(j.plan.Manifest)
	var roots []protocol.CID
	for i := range j.plan.Manifest.Stages[stage].Tasks {
		c, _ := j.plan.Result(protocol.Key{Stage: stage, Index: i})
		roots = append(roots, c)
	}
	slices.Sort(roots)
	roots = slices.Compact(roots)
	copies := j.plan.Manifest.Copies
	l.n.wg.Go(func() {
		held, err := l.n.holdRoot(l.n.ctx, e, roots, copies)
		l.n.loop.post(l.n.ctx, func(now time.Time) {
			j.settling = false
			if err != nil {
				l.n.log.Info("root not held by enough nodes yet", "job", e.Job, "copies", held, "error", err)
				l.lost(e, err)
				return
			}
			if !j.ended {
				l.state(now, protocol.Fact{Job: e.Job, Kind: protocol.Final, At: now, Root: e.Root, Copies: held})
			}
		})
	})
}

// holdRoot places the parts that the root joins, then the root itself, whose
// nodes need only the parts.
func (n *Node) holdRoot(ctx context.Context, e scheduler.Settle, parts []protocol.CID, copies int) (int, error) {
	if held, err := n.place(ctx, string(e.Job), parts, copies); err != nil {
		return held, err
	}
	return n.place(ctx, string(e.Job), []protocol.CID{e.Root}, copies)
}

// lost looks, when the root's parts cannot be placed, for those that nobody
// holds any more, so that they are computed again.
func (l *loop) lost(e scheduler.Settle, err error) {
	j := l.jobs[e.Job]
	if j == nil || !isNotFound(err) {
		return
	}
	for s := scheduler.DataStage(j.plan.Manifest); s < len(j.plan.Manifest.Stages); s++ {
		check := scheduler.Check{Job: e.Job, Task: protocol.Key{Stage: s}}
		for i := range j.plan.Manifest.Stages[s].Tasks {
			check.Deps = append(check.Deps, protocol.Key{Stage: s, Index: i})
		}
		l.check(check)
	}
}

// check asks all nodes for results that a worker could not read; those that
// nobody has are lost, and run again.
func (l *loop) check(e scheduler.Check) {
	j := l.jobs[e.Job]
	if j == nil || j.checking[e.Task] {
		return
	}
	j.checking[e.Task] = true
	var roots []protocol.CID
	for _, k := range e.Deps {
		c, _ := j.plan.Result(k)
		roots = append(roots, c)
	}
	l.n.wg.Go(func() {
		found := l.n.findHolders(l.n.ctx, roots, l.n.mesh.Alive(), callWait)
		l.n.loop.post(l.n.ctx, func(now time.Time) {
			delete(j.checking, e.Task)
			for i, k := range e.Deps {
				c, _ := j.plan.Result(k)
				if roots[i].Defined() && c == roots[i] && len(found.by[c]) == 0 {
					l.n.log.Info("result lost, to be computed again", "job", e.Job, "task", k)
					j.plan.Lose(k)
				}
			}
			l.perform(now, j.steward.Tick(now))
		})
	})
}
