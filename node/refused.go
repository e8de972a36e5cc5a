package node

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Refusal is why something that a peer sent was not taken. Honest peers cause
// few: what comes late, or from one that knows members which this node does
// not know yet.
type Refusal string

const (
	RefusedMalformed Refusal = "malformed"         // it does not decode
	RefusedBounds    Refusal = "out_of_bounds"     // it holds more than the protocol allows
	RefusedFlood     Refusal = "too_much_at_once"  // streams and calls beyond what one peer may have open
	RefusedStranger  Refusal = "not_a_member"      // its sender
	RefusedSignature Refusal = "bad_signature"     // a receipt or fact that does not open, or is of another job
	RefusedSigner    Refusal = "foreign_signature" // by one who is not known to be a member with the role for it
	RefusedTask      Refusal = "unknown_task"      // a receipt, failed run or award of a task that the job does not have
	RefusedJob       Refusal = "unknown_job"       // of a job that is not known here and cannot be learned
	RefusedFinal     Refusal = "forged_final"      // a job's end stated by one without the role for it
	RefusedCancel    Refusal = "forged_cancel"     // by neither the job's submitter nor an admin
	RefusedSubmitter Refusal = "may_not_submit"    // a job of one without the role for it
	RefusedExpired   Refusal = "expired_job"       // after its manifest's end
	RefusedFull      Refusal = "too_many_jobs"     // one more job than a node keeps in memory, none of which has ended
)

// refusal is an error that says under which cause it is counted.
type refusal struct {
	cause Refusal
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// because says under which cause an error is counted. The first to say so
// knows best.
func because(cause Refusal, err error) error {
	if said := (*refusal)(nil); err == nil || errors.As(err, &said) {
		return err
	}
	return &refusal{cause, err}
}

// refuse counts what a peer sent and err refuses.
func (n *Node) refuse(err error) { n.refused.add(string(causeOf(err))) }

// causeOf is why err refuses something. What fails for reasons of this node,
// a full disk perhaps, has no cause.
func causeOf(err error) Refusal {
	said := (*refusal)(nil)
	switch {
	case errors.As(err, &said):
		return said.cause
	case errors.Is(err, protocol.ErrBounds), errors.Is(err, protocol.ErrTooLarge):
		return RefusedBounds
	case errors.Is(err, protocol.ErrReceipt):
		return RefusedSignature
	case errors.Is(err, protocol.ErrManifest):
		return RefusedMalformed
	}
	return ""
}

// badFrame is why bytes that do not decode are refused.
func badFrame(err error) Refusal {
	if cause := causeOf(err); cause != "" {
		return cause
	}
	return RefusedMalformed
}

// signedBy fails unless who states a fact is a member that may.
func (n *Node) signedBy(f *protocol.Fact) error {
	err := n.vouched(f.By, factRoles[f.Kind])
	if f.Kind == protocol.Final || f.Kind == protocol.Failed {
		return because(RefusedFinal, err)
	}
	return because(RefusedSigner, err)
}

func hasTask(m *protocol.Manifest, k protocol.Key) bool {
	return k.Stage >= 0 && k.Stage < len(m.Stages) && k.Index >= 0 && k.Index < m.Stages[k.Stage].Tasks
}

// takes reports whether a job has that task, and counts it if not.
func (n *Node) takes(m *protocol.Manifest, k protocol.Key) bool {
	if !hasTask(m, k) {
		n.refused.add(string(RefusedTask))
		return false
	}
	return true
}

// allows reports whether a fact may enter the ledger of its job, and counts it
// if not.
func (n *Node) allows(m *protocol.Manifest, f *protocol.Fact) bool {
	if f.Kind == protocol.Cancelled && !n.mayCancel(f.By, m) {
		n.refused.add(string(RefusedCancel))
		return false
	}
	return f.Run == nil || n.takes(m, f.Run.Task)
}

// memberSpoke reports whether a message is a member's, and counts it if not.
func (n *Node) memberSpoke(from peer.ID) bool {
	if from == n.id || n.mesh.IsMember(from) {
		return true
	}
	n.refused.add(string(RefusedStranger))
	return false
}

// knows is ensureJob for what a peer speaks of: it counts a job that cannot be
// made known.
func (n *Node) knows(ctx context.Context, id protocol.CID, from peer.ID) error {
	err := n.ensureJob(ctx, id, from)
	if err != nil && ctx.Err() == nil {
		n.refuse(because(RefusedJob, err))
	}
	return err
}

// speaksOf reports whether a job that a peer speaks of is known, and counts it
// if not.
func (n *Node) speaksOf(j *job) bool {
	if j == nil {
		n.refused.add(string(RefusedJob))
	}
	return j != nil
}
