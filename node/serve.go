package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// maxHolds bounds the fetches that other nodes may have this one do at once.
const maxHolds = 8

// maxJobsListed bounds the jobs that one answer lists.
const maxJobsListed = protocol.MaxJobsListed

// answer serves a peer's call.
func (n *Node) answer(ctx context.Context, from peer.ID, q *protocol.Request) *protocol.Answer {
	if !n.memberSpoke(from) {
		return &protocol.Answer{Error: "not a member of this mesh"}
	}
	a, err := &protocol.Answer{Boot: n.boot, Clock: time.Now()}, error(nil)
	switch {
	case q.Hold != nil:
		err = n.hold(ctx, q.Hold)
	case q.Held != nil:
		has := n.has()
		a.Can = &has
		a.Held, err = n.held(ctx, q.Held)
	case q.Submit != nil:
		a.Copies, err = n.commit(ctx, q.Submit.Manifest)
	case q.Commit != nil:
		err = n.committed(ctx, q.Commit)
	case q.Status != nil:
		a.Status = n.localState(ctx, q.Status.Job)
	case q.Jobs != nil:
		a.Jobs = n.localJobs(ctx)
	case q.Runs != nil:
		a.Runs = n.localRuns(ctx, q.Runs)
	case q.Explain != nil:
		a.Story, a.Now = n.localStory(ctx, q.Explain)
	case q.Cancel != nil:
		a.Known, err = n.cancelled(ctx, q.Cancel)
	default:
		err = errors.New("a request that this node does not know")
	}
	if err != nil {
		n.refuse(err)
		a.Error = err.Error()[:min(len(err.Error()), protocol.MaxText)]
	}
	return a
}

// hold fetches what is not here yet. What comes with a receipt is remembered
// as the result that it is.
func (n *Node) hold(ctx context.Context, h *protocol.Hold) error {
	if len(h.Roots) > maxHoldRoots || len(h.Sources) > protocol.MaxSources {
		return fmt.Errorf("at most %d roots and %d sources in one call", maxHoldRoots, protocol.MaxSources)
	}
	select {
	case n.holding <- struct{}{}:
		defer func() { <-n.holding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := n.holdReceipts(ctx, h); err != nil { // the smallest blocks come in them
		return err
	}
	for _, root := range h.Roots {
		if !root.Defined() {
			return errors.New("a root without a CID")
		}
		whole, err := n.store.Complete(ctx, root)
		if err != nil {
			return err
		}
		if !whole {
			if err := n.exchange.FetchDAG(ctx, root, others(h.Sources, n.id)); err != nil {
				return fmt.Errorf("holding %s: %w", root, err)
			}
		}
	}
	return nil
}

// holdReceipts keeps the receipts that come with copies (rule R2), on disk also
// when the job cannot be learned here. Those of a job that has expired are
// refused.
func (n *Node) holdReceipts(ctx context.Context, h *protocol.Hold) error {
	if len(h.Receipts) == 0 {
		return nil
	}
	from := n.id
	if len(h.Sources) > 0 {
		from = h.Sources[0]
	}
	if err := n.ensureJob(ctx, h.Job, from); errors.Is(err, errExpired) {
		return err
	}
	o, err := n.open(ctx, &protocol.Done{Job: h.Job, Receipts: h.Receipts})
	if err != nil {
		return err
	}
	if m, known := n.known.Load(h.Job); known {
		o.receipts = slices.DeleteFunc(o.receipts, func(r openReceipt) bool { return !n.takes(m.(*protocol.Manifest), r.open.Task) })
	}
	n.loop.do(ctx, func(now time.Time) {
		if j := n.loop.jobs[h.Job]; j != nil {
			n.loop.add(now, j, o)
		}
	})
	for _, r := range o.receipts { // what no ledger here took is kept all the same
		if !n.hasReceipt(h.Job, r.open.Result) && !n.keepReceipt(h.Job, r) {
			return errNotKept("a receipt", h.Job)
		}
	}
	return nil
}

// held reports which roots are here whole, and, for results of a job, with a
// receipt.
func (n *Node) held(ctx context.Context, h *protocol.Held) ([]bool, error) {
	if len(h.Roots) > maxHoldRoots {
		return nil, fmt.Errorf("at most %d roots in one call", maxHoldRoots)
	}
	known := n.vouchedFor(ctx, h)
	out := make([]bool, len(h.Roots))
	for i, root := range h.Roots {
		if !root.Defined() {
			continue
		}
		rides, vouched := known[root]
		if rides {
			out[i] = true
			continue
		}
		whole, err := n.store.Complete(ctx, root)
		if err != nil {
			return nil, err
		}
		out[i] = whole && (h.Job == "" || vouched || n.hasReceipt(h.Job, root))
	}
	return out, nil
}

// vouchedFor are those of the roots of which the job's ledger in memory, all of
// which is on the disk, has a receipt; and whether the result rides in it, so
// that whoever has the receipt has the result. To ask the disk for each of
// thousands costs a hundred times as much.
func (n *Node) vouchedFor(ctx context.Context, h *protocol.Held) map[protocol.CID]bool {
	if h.Job == "" {
		return nil
	}
	var out map[protocol.CID]bool
	n.loop.do(ctx, func(time.Time) {
		if j := n.loop.jobs[h.Job]; j != nil && !j.unkept {
			out = j.plan.Ledger.Vouched(h.Roots)
		}
	})
	return out
}

// committed keeps a job that is about to run: its manifest and the fact.
func (n *Node) committed(ctx context.Context, c *protocol.Commit) error {
	id := protocol.JobID(c.Manifest)
	if _, err := protocol.OpenManifest(c.Manifest); err != nil {
		return err
	}
	if len(c.Facts) > protocol.MaxReceiptBatch {
		return errors.New("too many facts")
	}
	if err := n.keepManifest(ctx, c.Manifest); err != nil {
		return err
	}
	if err := n.ensureJob(ctx, id, n.id); err != nil {
		return err
	}
	o, err := n.open(ctx, &protocol.Done{Job: id, Facts: c.Facts})
	if err != nil {
		return err
	}
	err = fmt.Errorf("job %s is not kept: it has expired, or this node is ending", id)
	n.loop.do(ctx, func(now time.Time) {
		j := n.loop.jobs[id]
		if j == nil {
			return
		}
		n.loop.add(now, j, o)
		if err = nil; !n.remembers(j, protocol.Committed) { // it would not come back after a restart
			err = errNotKept("the commitment", id)
		}
	})
	return err
}

func (n *Node) keepManifest(ctx context.Context, doc []byte) error {
	if err := n.store.Put(ctx, protocol.JobID(doc), doc); err != nil {
		return fmt.Errorf("keeping the manifest: %w", err)
	}
	return nil
}

// localState is what this node knows of a job; nil when it does not.
func (n *Node) localState(ctx context.Context, id protocol.CID) *protocol.JobState {
	var out *protocol.JobState
	n.loop.do(ctx, func(now time.Time) {
		if j := n.loop.jobs[id]; j != nil {
			st := n.loop.stateOf(now, j)
			out = &st
		}
	})
	return out
}

func (l *loop) stateOf(now time.Time, j *job) protocol.JobState {
	st := j.steward.State(now)
	m := j.plan.Manifest
	st.Bytes, st.Policy, st.RunUntil = m.Bytes, m.Policy, m.RunUntil
	st.Wanted, st.Mode, st.Require = m.Copies, m.Mode, m.Require
	done, of := j.plan.StageDone(0), m.Stages[0].Tasks
	if st.Shards > 1 { // others know how far its first stage is
		done, of = st.Done, st.Total
	}
	st.BytesDone = int64(float64(m.Bytes) * float64(done) / float64(of))
	return st
}

func (n *Node) localJobs(ctx context.Context) []protocol.JobState {
	var out []protocol.JobState
	n.loop.do(ctx, func(now time.Time) {
		size := 0
		for _, j := range n.loop.newestJobs() {
			st := n.loop.stateOf(now, j)
			st.Require = protocol.Require{} // up to 64 labels: the answer has room for more jobs without
			if size += len(protocol.Encode(st)); size > maxJobsBytes {
				break
			}
			out = append(out, st)
		}
	})
	return out
}

// maxJobsBytes bounds the part of a list of jobs that one answer holds: of each
// a long error may be told.
const maxJobsBytes = protocol.MaxMessage / 2

// newestJobs are the jobs to be listed, the last committed first. Only of these
// the state is worked out, which takes a walk over all tasks of each.
func (l *loop) newestJobs() []*job {
	type began struct {
		j  *job
		at time.Time
	}
	all := make([]began, 0, len(l.jobs))
	for _, id := range l.jobIDs() {
		b := began{j: l.jobs[id]}
		if f := b.j.plan.Ledger.Fact(protocol.Committed); f != nil {
			b.at = f.At
		}
		all = append(all, b)
	}
	slices.SortStableFunc(all, func(a, b began) int { return b.at.Compare(a.at) })
	var out []*job
	for _, b := range all[:min(len(all), maxJobsListed)] {
		out = append(out, b.j)
	}
	return out
}

// maxRunsBytes bounds the part of a list of runs that one answer holds.
const maxRunsBytes = protocol.MaxMessage / 2

func (n *Node) localRuns(ctx context.Context, q *protocol.JobRef) []protocol.TaskRun {
	var out []protocol.TaskRun
	n.loop.do(ctx, func(now time.Time) {
		j := n.loop.jobs[q.Job]
		if j == nil {
			return
		}
		runs := j.plan.Ledger.Runs(j.plan.Manifest, q.Shard)
		size := 0
		for _, r := range runs[min(max(q.From, 0), len(runs)):] {
			if size += 256 + len(r.Tail) + len(r.Failed); size > maxRunsBytes {
				break
			}
			out = append(out, r)
		}
	})
	return out
}

// localStory is what this node remembers of a job or task, and what keeps it
// now; nil when it does not know the job.
func (n *Node) localStory(ctx context.Context, q *protocol.Explain) ([]protocol.Event, *protocol.Now) {
	var story []protocol.Event
	var state *protocol.Now
	n.loop.do(ctx, func(now time.Time) {
		j := n.loop.jobs[q.Job]
		if j == nil || q.Task != nil && !hasTask(j.plan.Manifest, *q.Task) {
			return
		}
		shard := q.Shard
		if q.Task != nil {
			shard = j.plan.Layout.ShardOf(*q.Task)
		}
		if st := j.stewards[shard]; st != nil {
			story = st.Story(q.Task, q.From)
			keeps := st.Now(now, q.Task)
			state = &keeps
		}
	})
	return story, state
}

// cancelled takes and spreads a cancellation.
func (n *Node) cancelled(ctx context.Context, c *protocol.Cancel) (known bool, err error) {
	o, err := n.open(ctx, &protocol.Done{Job: c.Job, Facts: []protocol.Signed{c.Fact}})
	if err != nil {
		return false, err
	}
	err = errors.New("this node is ending")
	n.loop.do(ctx, func(now time.Time) {
		err = nil
		j := n.loop.jobs[c.Job]
		if known = j != nil; !known {
			return
		}
		if o.facts[0].open.Kind != protocol.Cancelled || !n.mayCancel(o.facts[0].open.By, j.plan.Manifest) {
			err = because(RefusedCancel, errors.New("only its submitter and members with the admin role may cancel a job"))
			return
		}
		n.loop.add(now, j, o)
		n.loop.tell(now, j, o)
		if !n.remembers(j, protocol.Cancelled) {
			err = errNotKept("the cancellation", c.Job)
		}
	})
	return known, err
}

// mayCancel reports whether a member may cancel a job.
func (n *Node) mayCancel(by peer.ID, m *protocol.Manifest) bool {
	return by == m.Submitter || slices.Contains(n.mesh.Roles(by), protocol.RoleAdmin)
}
