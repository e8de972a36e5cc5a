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
func (n *Node) commit(ctx context.Context, doc []byte) (int, error) {
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		return 0, err
	}
	id := protocol.JobID(doc)
	if scheduler.LifeOf(m, n.absolute()) != scheduler.Running {
		return 0, because(RefusedExpired, fmt.Errorf("job %s had to run until %s; submit the work again, it is a new job then", id, m.RunUntil.Format(time.RFC3339)))
	}
	if err := n.maySubmit(m); err != nil {
		return 0, err
	}
	if err := n.keepManifest(ctx, doc); err != nil {
		return 0, err
	}
	if err := n.runnable(ctx, m); err != nil {
		return 0, err
	}
	c := scheduler.NewCommit(id, m.Closure(), m.Copies, n.id, n.mesh.Alive(), n.storing())
	fact := &commitFact{n: n, job: id}
	if err := n.pursue(ctx, c, n.askCommit(id, doc, fact)); err != nil {
		return 0, err
	}
	if why := c.Failed(); why != "" {
		return 0, errors.New(why)
	}
	if err := n.begins(ctx, id, c, fact); err != nil {
		return 0, err
	}
	n.log.Info("job committed", "job", id, "submitter", m.Submitter, "copies", c.Copies())
	return c.Copies(), nil
}

// commitFact is the fact that a job is committed, signed when it is known with
// how many copies. Questions to several nodes carry the same one.
type commitFact struct {
	n      *Node
	job    protocol.CID
	once   sync.Once
	fact   *protocol.Fact // as others read it
	signed protocol.Signed
	err    error
}

func (f *commitFact) sign(copies int) (protocol.Signed, error) {
	f.once.Do(func() {
		f.signed, f.fact, f.err = f.n.signFact(protocol.Fact{Job: f.job, Kind: protocol.Committed, At: time.Now(), Copies: copies})
	})
	return f.signed, f.err
}

// askCommit puts the questions of a commit.
func (n *Node) askCommit(id protocol.CID, doc []byte, fact *commitFact) asking {
	blocks := n.askBlocks("", nil)
	return func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		switch a.Question {
		case scheduler.AskKeep:
			a.Sources = []peer.ID{n.id}
			return blocks(ctx, a)
		case scheduler.AskCommit:
			signed, err := fact.sign(a.Copies)
			if err != nil {
				return nil, err
			}
			q := &protocol.Request{Commit: &protocol.Commit{Manifest: doc, Facts: []protocol.Signed{signed}}}
			return n.caller.call(ctx, a.To, q, callWait)
		}
		return blocks(ctx, a)
	}
}

// begins has this node, as the job's steward, offer its tasks.
func (n *Node) begins(ctx context.Context, id protocol.CID, c *scheduler.Commit, fact *commitFact) error {
	signed, err := fact.sign(c.Copies())
	if err != nil {
		return err
	}
	if err := n.ensureJob(ctx, id, n.id); err != nil {
		return err
	}
	err = fmt.Errorf("job %s does not begin: it has expired, or this node is ending", id)
	n.loop.do(ctx, func(now time.Time) {
		j := n.loop.jobs[id]
		if j == nil {
			return // expired meanwhile
		}
		j.sourced = now
		j.setSources(c.Holders())
		fresh := j.plan.Ledger.Fact(protocol.Committed) == nil
		n.loop.add(now, j, opened{facts: []openFact{{signed, fact.fact}}})
		if fresh {
			n.loop.perform(now, j.steward.Begin(now))
		}
		if err = nil; !n.remembers(j, protocol.Committed) {
			err = errNotKept("the commitment", id)
		}
	})
	return err
}

// runnable checks that some live node can run each stage.
func (n *Node) runnable(ctx context.Context, m *protocol.Manifest) error {
	n.askAbilities(n.liveNodes())
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
		capable := slices.ContainsFunc(nodes, func(n scheduler.Node) bool { return n.Can(needs) == "" })
		if !capable {
			return fmt.Sprintf("stage %q: %s", s.Name, scheduler.Reasons(nodes, func(n *scheduler.Node) string { return n.Can(needs) }))
		}
	}
	return ""
}
