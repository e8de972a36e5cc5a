package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// capableWait is how long a steward waits to hear what members can run before
// it says that none of them can. It has asked them all; this is for those that
// have just started.
const capableWait = time.Second

// commit verifies, as a steward of a job that was submitted here, that the job
// can run without its submitter, has the other stewards keep it, and begins
// (rule R1). It returns with how many copies the job runs.
func (n *Node) commit(ctx context.Context, from peer.ID, doc []byte) (int, error) {
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		return 0, err
	}
	id := protocol.JobID(doc)
	if time.Now().After(m.RunUntil) {
		return 0, because(RefusedExpired, fmt.Errorf("job %s had to run until %s", id, m.RunUntil.Format(time.RFC3339)))
	}
	if err := n.maySubmit(m); err != nil {
		return 0, err
	}
	if err := n.keepManifest(ctx, doc); err != nil {
		return 0, err
	}
	alive := n.storing()
	copies := min(m.Copies, len(alive))
	sources, err := n.verifyHeld(ctx, m.Closure(), alive, copies)
	if err != nil {
		return 0, err
	}
	if err := n.runnable(ctx, m); err != nil {
		return 0, err
	}
	fact := protocol.Fact{Job: id, Kind: protocol.Committed, By: n.id, At: time.Now(), Copies: copies}
	signed, err := protocol.SignFact(fact, n.mesh.Key())
	if err != nil {
		return 0, err
	}
	if err := n.commitAt(ctx, id, doc, signed, alive, copies); err != nil {
		return 0, err
	}
	if err := n.ensureJob(ctx, id, n.id); err != nil {
		return 0, err
	}
	ok := n.loop.do(ctx, func(now time.Time) {
		j := n.loop.jobs[id]
		j.sourced = now
		j.setSources(sources)
		fresh := j.plan.Ledger.Fact(protocol.Committed) == nil
		n.loop.add(now, j, opened{facts: []openFact{{signed, &fact}}})
		if fresh {
			n.loop.perform(now, j.steward.Begin(now))
		}
	})
	if !ok {
		return 0, errors.New("this node is ending")
	}
	n.log.Info("job committed", "job", id, "submitter", m.Submitter, "copies", copies)
	return copies, nil
}

// verifyHeld checks that enough live nodes hold every root, and asks those
// counted once more: a node that has restarted in between, or does not answer
// within a second, does not count. It returns the nodes that hold all of them.
func (n *Node) verifyHeld(ctx context.Context, roots []protocol.CID, alive []peer.ID, copies int) ([]peer.ID, error) {
	before := n.findHolders(ctx, roots, alive, callWait)
	var counted []peer.ID
	for _, id := range alive {
		if slices.ContainsFunc(roots, func(c protocol.CID) bool { return slices.Contains(before.by[c], id) }) {
			counted = append(counted, id)
		}
	}
	after := n.findHolders(ctx, roots, counted, protocol.RankWait)
	for _, c := range roots {
		after.by[c] = slices.DeleteFunc(after.by[c], func(id peer.ID) bool { return before.boots[id] != after.boots[id] })
		if held := len(after.by[c]); held < copies {
			return nil, fmt.Errorf("only %d of %d nodes hold %s, which the job needs", held, copies, c)
		}
	}
	return after.ofAll(roots), nil
}

// runnable checks that some live node can run each stage.
func (n *Node) runnable(ctx context.Context, m *protocol.Manifest) error {
	deadline := time.Now().Add(capableWait)
	for {
		why := n.whyNot(m)
		if why == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w: %s", ErrNoCapableNode, why)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// whyNot says in plain words which stage no live node can run, and why.
func (n *Node) whyNot(m *protocol.Manifest) string {
	nodes := n.liveNodes()
	for i, s := range m.Stages {
		needs := scheduler.NeedsOf(m, i)
		why, capable := "", 0
		for i := range nodes {
			if w := nodes[i].Can(needs); w == "" {
				capable++
			} else {
				why = w
			}
		}
		if capable == 0 {
			return fmt.Sprintf("stage %q (live nodes: %d); node %s: %s", s.Name, len(nodes), nodes[len(nodes)-1].ID, why)
		}
	}
	return ""
}

// commitAt has enough nodes keep the job, this one among them: its stewards,
// and where one of those cannot, the next in rank, which will tell them. First
// all of them keep the manifest, and only when that has succeeded the fact
// that makes the job run: what fails here leaves nothing behind that runs.
func (n *Node) commitAt(ctx context.Context, id protocol.CID, doc []byte, fact protocol.Signed, alive []peer.ID, copies int) error {
	targets := others(scheduler.Rank(string(id), alive), n.id)
	hold := &protocol.Request{Hold: &protocol.Hold{Roots: []protocol.CID{id}, Sources: []peer.ID{n.id}}}
	keepers := n.holdAt(ctx, targets, copies-1, hold)
	if len(keepers) < copies-1 {
		return fmt.Errorf("only %d of %d nodes could keep the job's manifest", len(keepers)+1, copies)
	}
	q := &protocol.Request{Commit: &protocol.Commit{Manifest: doc, Facts: []protocol.Signed{fact}}}
	errs := make([]error, len(keepers))
	var wg sync.WaitGroup
	for i, to := range keepers {
		wg.Go(func() { _, errs[i] = n.caller.call(ctx, to, q, callWait) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the nodes that keep job %s did not all answer again: %w", id, err)
	}
	return nil
}
