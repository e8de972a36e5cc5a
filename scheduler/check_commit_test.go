package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// commits checks I2 when a steward has committed: as many live nodes hold the
// closure, and keep the manifest, as it says. Those that failed since the nodes
// were asked for the last time are excused, nobody can know of them, and those
// that have released the inputs: another steward was quicker.
func (j *journal) commits(n *simNode, c *Commit, verified time.Time) {
	s, l := n.s, n.s.life
	excused := j.lossesSince(verified)
	for _, at := range l.drops {
		if !at.Before(verified) {
			excused++
		}
	}
	for _, root := range append(slices.Clone(l.closure), s.job) {
		held := 0
		s.each(up, func(x *simNode) {
			if x.disk.blocks[root] {
				held++
			}
		})
		if held+excused < c.Copies() {
			j.object("I2: node %s commits with %d copies, %d live nodes hold %s and %d have failed since they were asked", n.id, c.Copies(), held, root, excused)
		}
	}
	if most := min(s.m.Copies, len(s.live())); c.Copies() < 1 || s.class == "quiet submission" && c.Copies() < most {
		j.object("I2: node %s commits with %d copies, %d nodes live", n.id, c.Copies(), most)
	}
	if l.committed.IsZero() {
		l.committed, l.copies = s.now, c.Copies()
	}
	l.copies = min(l.copies, c.Copies())
}

// drops checks I6 (and so R3 and R4) when a node drops what the job referenced:
// it is final, and as many nodes as could hold it hold the whole result with
// its receipts. Those that failed while they were asked are excused.
func (j *journal) drops(n *simNode) {
	s := n.s
	end := n.plan.Ended()
	if end == nil {
		j.object("R4: node %s drops the inputs of a job that goes on", n.id)
		return
	}
	if end.Kind != protocol.Final {
		return
	}
	held := 0
	s.each(func(*simNode) bool { return true }, func(x *simNode) {
		whole := !slices.ContainsFunc(x.dag(end.Root), func(c protocol.CID) bool { return !x.disk.blocks[c] }) && x.disk.vouches(s, end.Root)
		if whole {
			held++
		}
	})
	if excused := j.lossesSince(s.now.Add(-deafAfter)); held+excused < min(s.m.Copies, s.size) {
		j.object("I6 (R3): node %s drops the inputs while %d nodes hold the result, %d should", n.id, held, min(s.m.Copies, s.size))
	}
}

// lifeBegins checks, when a task is started, that the job may still run, and
// lifeGrows, when a ledger grows, that it is not over (I9). Clocks differ by as
// much as is taken for nothing.
func (n *simNode) lifeBegins() { n.lifeAt(n.mayRunUntil(), "starts a task") }
func (n *simNode) lifeGrows()  { n.lifeAt(n.s.m.KeepUntil, "takes a receipt") }

func (n *simNode) mayRunUntil() time.Time { return n.s.m.RunUntil }

func (n *simNode) lifeAt(until time.Time, what string) {
	if l := n.s.life; l != nil && n.honest() && n.s.now.After(until.Add(maxSkew)) {
		n.s.seen.object("I9 (R7): node %s %s %s after the job's time", n.id, what, n.s.now.Sub(until))
	}
}

// honest reports whether the node's clock can be held to the time: it is right,
// or has heard from others that it is not.
func (n *simNode) honest() bool { return n.offset.Abs() < maxSkew || n.clock.Offset() != 0 }

// checkLife holds the end of a submitted job against the invariants.
func (s *sim) checkLife() error {
	if err := s.checkReplicas(); err != nil {
		return err
	}
	l := s.life
	if l.given && l.committed.IsZero() {
		return fmt.Errorf("the submitter was told of a commit that nobody made")
	}
	if l.committed.IsZero() {
		return nil
	}
	if s.quick() && l.committed.Sub(l.began) > 5*hedgeAfter {
		return fmt.Errorf("committed only %s after it was submitted, though only a node hung", l.committed.Sub(l.began))
	}
	return s.check() // among them I3: it has ended, and well
}

// quick reports whether nothing but a node that hangs can have delayed a commit.
func (s *sim) quick() bool { return s.class == "a node hangs" && s.size > 5 }

// checkReplicas holds that whoever has a copy of a result knows what it is (I5,
// R2). A worker's own has no receipt before it is signed, and a node that took
// the job's time to be over, since clocks lied to it, has forgotten what its
// blocks are.
func (s *sim) checkReplicas() error {
	results := map[protocol.CID][]peer.ID{} // and who gave them
	for body := range s.seen.ran {
		r := opened[protocol.Receipt](s, []byte(body))
		results[r.Result] = append(results[r.Result], r.Worker)
	}
	var broken error
	s.each(up, func(n *simNode) {
		for c := range n.disk.blocks {
			if n.disk.forgot {
				return
			}
			if by, result := results[c]; result && !within(by, n.id) && !n.disk.vouches(s, c) {
				broken = fmt.Errorf("I5 (R2): node %s has a copy of a result and no receipt of it", n.id)
			}
		}
	})
	return broken
}

// checkForgotten holds that ten minutes after its time nobody has anything of
// the job but blocks (I9).
func (s *sim) checkForgotten() error {
	var broken error
	s.each(up, func(n *simNode) {
		if n.honest() && (n.plan != nil || len(n.disk.receipts)+len(n.disk.facts) > 0) {
			broken = fmt.Errorf("I9 (R7): node %s remembers the job %s after its time", n.id, s.now.Sub(s.m.KeepUntil))
		}
	})
	return broken
}
