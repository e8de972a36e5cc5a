package scheduler

import (
	"fmt"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// An input that no live node can give is no failure of the task, and none of
// the job while it may still come back: its holders may be on the other side of
// a cut. What can be computed again is; for the rest the task waits, tries again
// more and more seldom, and says so. Only the end of its time ends the job.
const (
	// backoffFirst is how long a task waits that could not read an input for
	// the first time; twice as long after each further one, up to backoffLast.
	backoffFirst = 250 * time.Millisecond
	backoffLast  = 10 * time.Second
)

// heldBack is a task that could not read an input.
type heldBack struct {
	times int
	until time.Time
	lost  protocol.CID
}

func (s *Steward) holdBack(now time.Time, run *protocol.Failure) {
	b := s.back[run.Task]
	wait := min(backoffFirst<<min(b.times, 16), backoffLast)
	s.back[run.Task] = heldBack{b.times + 1, now.Add(wait), run.Lost}
}

// whatLacks says which input is waited for, once it was not to be had twice; ""
// when none is.
func (s *Steward) whatLacks() string {
	for _, k := range sortedKeys(s.back) {
		b := s.back[k]
		if s.plan.isDone(k) {
			delete(s.back, k)
		} else if b.times > 1 {
			return fmt.Sprintf("task %s of stage %q cannot read %s: none of the %d live nodes has it whole; it is tried again, and the job goes on when a node that holds it is back",
				k, s.plan.Manifest.Stages[k.Stage].Name, b.lost, len(s.nodes))
		}
	}
	return ""
}

// cutOffWait is how long a steward that sees fewer nodes than the job was
// committed to judges nothing: it may be cut off, and what it stated would end
// the job for all when the cut heals.
const cutOffWait = 30 * time.Second

// countNodes notes since when this node sees fewer than hold the job.
func (s *Steward) countNodes(now time.Time) {
	c := s.plan.Ledger.Fact(protocol.Committed)
	switch few := c != nil && len(s.nodes) < c.Copies; {
	case !few:
		s.fewSince = time.Time{}
	case s.fewSince.IsZero():
		s.fewSince = now
	}
}

// cutOff reports whether it may be this node that is cut off.
func (s *Steward) cutOff(now time.Time) bool {
	return !s.fewSince.IsZero() && now.Sub(s.fewSince) < cutOffWait
}
