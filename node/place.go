package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// maxHoldRoots is how many roots one call names.
const maxHoldRoots = 256

// holders is who holds which whole DAGs.
type holders struct {
	by map[protocol.CID][]peer.ID // sorted as the nodes were asked
}

// findHolders asks nodes which of the roots they hold. Nodes that do not
// answer within the wait hold nothing.
func (n *Node) findHolders(ctx context.Context, roots []protocol.CID, ask []peer.ID, wait time.Duration) holders {
	found := holders{by: map[protocol.CID][]peer.ID{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, id := range ask {
		wg.Go(func() {
			for list := range slices.Chunk(roots, maxHoldRoots) {
				a, err := n.caller.call(ctx, id, &protocol.Request{Held: &protocol.Held{Roots: list}}, wait)
				if err != nil || len(a.Held) != len(list) {
					return
				}
				n.noteAbility(ctx, id, a)
				mu.Lock()
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
	p := scheduler.NewPlacement(key, roots, copies, n.mesh.Alive(), n.storing())
	if err := n.pursue(ctx, p, n.askBlocks("", nil)); err != nil {
		return 0, err
	}
	r := p.Result()
	switch {
	case r.Enough():
		return r.Copies, nil
	case len(r.Lost) > 0:
		return 0, fmt.Errorf("%w: %s", ErrNotFound, r.Lost[0])
	}
	return r.Copies, fmt.Errorf("only %d of %d copies of %s could be made: %s", r.Copies, r.Want, r.Lacks, r.Why)
}

// findable reports whether some live node holds all of the DAG under root. It
// waits only while nobody has said so.
func (n *Node) findable(ctx context.Context, root protocol.CID) bool {
	alive := n.mesh.Alive()
	h := scheduler.NewHedge(1, alive, len(alive))
	err := n.pursue(ctx, hedged{h}, func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		q := &protocol.Request{Held: &protocol.Held{Roots: []protocol.CID{root}}}
		answer, err := n.caller.call(ctx, a.To, q, callWait)
		if err == nil && !slices.Contains(answer.Held, true) {
			err = remoteError("it does not hold " + root.String())
		}
		return answer, err
	})
	return err == nil && len(h.Did()) > 0
}

// Holders are the live nodes that hold all of the DAG under root.
func (n *Node) Holders(ctx context.Context, root protocol.CID) []peer.ID {
	return n.findHolders(ctx, []protocol.CID{root}, n.mesh.Alive(), callWait).by[root]
}

// settle has what the root joins of a shard, and the receipts that say what it
// is, held by enough nodes (rules R2 and R5); the job shard then states the job
// final.
func (l *loop) settle(e scheduler.Settle) {
	j := l.jobs[e.Job]
	if j == nil || j.settling[e.Shard] {
		return
	}
	j.settling[e.Shard] = true
	parts, vouchers := j.plan.Results(e.Parts)
	last, more := j.plan.Results(e.Last)
	maps.Copy(vouchers, more)
	s := scheduler.NewSettlement(e.Job, parts, last, j.plan.Manifest.Copies, l.n.mesh.Alive(), l.n.storing())
	l.n.wg.Go(func() {
		err := l.n.pursue(l.n.ctx, s, l.n.askBlocks(e.Job, vouchers))
		l.n.loop.post(l.n.ctx, func(now time.Time) {
			j.settling[e.Shard] = false
			if err == nil && !j.ended && l.jobs[e.Job] == j {
				l.settled(now, j, e, s)
			}
		})
	})
}

// settled acts on what a settlement has come to. A root that is another one by
// now is settled anew.
func (l *loop) settled(now time.Time, j *job, e scheduler.Settle, s *scheduler.Settlement) {
	switch {
	case s.Failed() != "":
		l.n.log.Info("results not held by enough nodes yet", "job", e.Job, "shard", e.Shard, "why", s.Failed())
		if s.Lost() {
			l.lost(e)
		}
	case e.Shard > 0:
		if st := j.stewards[e.Shard]; st != nil {
			st.Settled()
		}
	case j.plan.Root() == e.Root:
		l.state(now, protocol.Fact{Job: e.Job, Kind: protocol.Final, At: now, Root: e.Root, Copies: s.Copies()})
	}
}

// lost looks, when what the root joins cannot be placed, for results that
// nobody holds any more, so that they are computed again.
func (l *loop) lost(e scheduler.Settle) {
	j := l.jobs[e.Job]
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
