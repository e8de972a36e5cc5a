package node

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
	"github.com/meshnode/meshnode/storage"
)

// Waiting looks at a job often at first, then the less often the longer it has
// run, so that the wait adds little to it.
const (
	watchFirst = 20 * time.Millisecond
	watchEvery = 500 * time.Millisecond
	watchShare = 50 // of the time passed
	// blindFor is how long a job that was seen may be unknown to all that
	// answer before the wait ends.
	blindFor = 15 * time.Second
)

// How long answers are awaited. Who hangs holds nobody up for longer: the others
// know as much, or everybody is asked.
const (
	// lateAnswer is how long others are awaited once one has told something.
	lateAnswer = 300 * time.Millisecond
	// stewardsWait and everybodyWait bound the two rounds, so that an answer
	// comes within 2 s whoever is asked.
	stewardsWait  = 600 * time.Millisecond
	everybodyWait = 1300 * time.Millisecond
)

// askAll makes the same call to several nodes at once and returns the answers
// that came: all, or those that came soon after the first that tells something.
func (n *Node) askAll(ctx context.Context, to []peer.ID, q *protocol.Request, wait time.Duration, tells func(*protocol.Answer) bool) []*protocol.Answer {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	came := make(chan *protocol.Answer, len(to))
	for _, id := range to {
		n.wg.Go(func() {
			a, err := n.caller.call(ctx, id, q, wait)
			if err != nil {
				a = nil
			}
			came <- a
		})
	}
	var answers []*protocol.Answer
	var late <-chan time.Time
	for range to {
		select {
		case a := <-came:
			if a == nil {
				continue
			}
			answers = append(answers, a)
			if late == nil && tells(a) {
				late = time.After(lateAnswer)
			}
		case <-late:
			return answers
		}
	}
	return answers
}

// state asks a job's stewards how far it is, and everybody when they do not
// know. It fails with ErrUnknownJob.
func (n *Node) state(ctx context.Context, id protocol.CID) (protocol.JobState, error) {
	q := &protocol.Request{Status: &protocol.JobRef{Job: id}}
	tells := func(a *protocol.Answer) bool { return a.Status != nil && a.Status.Job == id }
	ask, wait := scheduler.Stewards(string(id), 0, protocol.DefaultCopies, n.storing()), stewardsWait
	for range 2 {
		var best *protocol.JobState
		for _, a := range n.askAll(ctx, ask, q, wait, tells) {
			if tells(a) && (best == nil || further(a.Status, best) > 0) {
				best = a.Status
			}
		}
		if best != nil {
			return *best, nil
		}
		ask, wait = n.mesh.Alive(), everybodyWait
	}
	return protocol.JobState{}, fmt.Errorf("%w: %s", ErrUnknownJob, id)
}

// further compares two views of one job: the one that has seen more is the
// later one, since ledgers only grow.
func further(a, b *protocol.JobState) int {
	ended := func(s *protocol.JobState) int {
		if s.State.Ended() {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(ended(a), ended(b)), cmp.Compare(a.Done, b.Done), cmp.Compare(a.Executions, b.Executions), cmp.Compare(a.Running+a.Queued, b.Running+b.Queued))
}

func jobStatus(s protocol.JobState) JobStatus {
	out := JobStatus{
		Job: s.Job, Name: s.Name, State: s.State, Total: s.Total, Done: s.Done, Running: s.Running, Queued: s.Queued,
		Executions: s.Executions, Root: s.Root, Stewards: s.Stewards, Workers: s.Workers, Error: s.Error,
		Submitter: s.Submitter, Copies: s.Copies, InputBytes: s.Bytes, BytesDone: s.BytesDone, Parts: s.Parts, Waiting: s.Waiting,
		Policy: s.Policy.WithDefaults(), Shards: max(1, s.Shards), Ambiguous: s.Ambiguous, Distrusted: s.Distrusted,
		CopiesWanted: s.Wanted, Mode: s.Mode, Require: s.Require,
	}
	if !s.Started.IsZero() {
		out.Started = &s.Started
	}
	if !s.Finished.IsZero() {
		out.Finished = &s.Finished
	}
	if !s.RunUntil.IsZero() {
		out.RunUntil = &s.RunUntil
	}
	if out.Stewards == nil {
		out.Stewards = []peer.ID{}
	}
	if out.Workers == nil {
		out.Workers = map[peer.ID]int{}
	}
	return out
}

// JobStatus asks the job's stewards how far it is. It fails with
// ErrUnknownJob.
func (n *Node) JobStatus(ctx context.Context, job protocol.CID) (JobStatus, error) {
	s, err := n.state(ctx, job)
	if err != nil {
		return JobStatus{}, err
	}
	return jobStatus(s), nil
}

func tellsAnything(*protocol.Answer) bool { return true }

// Jobs are the jobs that live members know, newest first.
func (n *Node) Jobs(ctx context.Context) ([]JobStatus, error) {
	best := map[protocol.CID]protocol.JobState{}
	for _, a := range n.askAll(ctx, n.mesh.Alive(), &protocol.Request{Jobs: &protocol.JobList{}}, everybodyWait, tellsAnything) {
		for _, s := range a.Jobs[:min(len(a.Jobs), maxJobsListed)] {
			if old, known := best[s.Job]; !known || further(&s, &old) > 0 {
				best[s.Job] = s
			}
		}
	}
	out := make([]JobStatus, 0, len(best))
	for _, s := range best {
		out = append(out, jobStatus(s))
	}
	slices.SortFunc(out, func(a, b JobStatus) int {
		return cmp.Or(-compareTimes(a.Started, b.Started), cmp.Compare(a.Job, b.Job))
	})
	return out, nil
}

func compareTimes(a, b *time.Time) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1 // not started yet: the newest
	case b == nil:
		return -1
	}
	return a.Compare(*b)
}

// Wait returns when the job has ended; report, which may be nil, is called
// with every change seen. It fails with ErrUnknownJob.
func (n *Node) Wait(ctx context.Context, job protocol.CID, report func(JobStatus)) (JobStatus, error) {
	var last JobStatus
	began := time.Now()
	seen := began
	for {
		st, err := n.JobStatus(ctx, job)
		if err != nil && (!last.Job.Defined() || time.Since(seen) > blindFor || ctx.Err() != nil) {
			return last, err
		}
		if err != nil { // whoever knows it is gone or very busy: others wake
			st = last
		} else {
			seen = time.Now()
		}
		if st.State.Ended() {
			if report != nil {
				report(st)
			}
			return st, nil
		}
		if report != nil && (st.State != last.State || st.Done != last.Done || st.Running != last.Running || st.Queued != last.Queued || st.Waiting != last.Waiting) {
			report(st)
		}
		last = st
		select {
		case <-time.After(min(max(watchFirst, time.Since(began)/watchShare), watchEvery)):
		case <-ctx.Done():
			return last, ctx.Err()
		}
	}
}

// root is the root of a job's result. It fails with ErrUnknownJob,
// ErrNotFinished and ErrJobFailed.
func (n *Node) root(ctx context.Context, job protocol.CID) (protocol.JobState, error) {
	s, err := n.state(ctx, job)
	switch {
	case err != nil:
		return s, err
	case s.State == protocol.StateFailed || s.State == protocol.StateCancelled:
		return s, fmt.Errorf("%w: %s", ErrJobFailed, s.Error)
	case !s.Root.Defined():
		return s, fmt.Errorf("%w: it is %s, %d of %d tasks are done", ErrNotFinished, s.State, s.Done, s.Total)
	}
	return s, nil
}

// Result writes the job's result to w. Provisional reports that its copies are
// not yet enough. It fails with ErrUnknownJob, ErrNotFinished, ErrJobFailed
// and ErrNotFound.
func (n *Node) Result(ctx context.Context, job protocol.CID, w io.Writer) (provisional bool, err error) {
	s, err := n.root(ctx, job)
	if err != nil {
		return false, err
	}
	return s.State == protocol.StateProvisional, n.Cat(ctx, s.Root, w)
}

// ResultParts writes the job's result to the new folder path as part-00000,
// part-00001, ... It fails as Result does.
func (n *Node) ResultParts(ctx context.Context, job protocol.CID, path string) (provisional bool, err error) {
	s, err := n.root(ctx, job)
	if err != nil {
		return false, err
	}
	get := n.anywhere(ctx, []protocol.CID{s.Root})
	parts, err := storage.Parts(ctx, get, s.Root, s.Parts)
	if err != nil {
		return false, notFound(s.Root, err)
	}
	if _, err := os.Lstat(path); err == nil {
		return false, fmt.Errorf("%w: %s exists already", ErrInput, path)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(path), ".meshnode-result-")
	if err != nil {
		return false, fmt.Errorf("writing the result: %w", err)
	}
	defer os.RemoveAll(scratch)
	for i, p := range parts {
		if err := storage.Export(ctx, get, p.CID, filepath.Join(scratch, fmt.Sprintf("part-%05d", i)), nil); err != nil {
			return false, notFound(p.CID, err)
		}
	}
	if err := os.Chmod(scratch, 0o755); err != nil {
		return false, fmt.Errorf("writing the result: %w", err)
	}
	if err := os.Rename(scratch, path); err != nil {
		return false, fmt.Errorf("writing the result: %w", err)
	}
	return s.State == protocol.StateProvisional, nil
}

// Logs calls each with the log of every run of a task that ended, failed runs
// too, in the order of their tasks. It fails with ErrUnknownJob.
func (n *Node) Logs(ctx context.Context, job protocol.CID, each func(LogEntry) error) error {
	st, err := n.state(ctx, job)
	if err != nil {
		return err
	}
	for _, r := range n.allRuns(ctx, st) {
		e := LogEntry{Task: r.Task.String(), Stage: r.Stage, Worker: r.Worker, Took: r.Took, Failed: r.Failed, Log: string(r.Tail)}
		if r.Log.Defined() {
			get := n.exchange.Getter(func(context.Context, protocol.CID) []peer.ID { return n.sources([]peer.ID{r.Worker}) })
			if log, err := get.Get(ctx, r.Log); err == nil {
				e.Log = string(log)
			} else if len(r.Tail) == 0 {
				e.Log = fmt.Sprintf("(the log is lost: %v)\n", err)
			}
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

// maxShardsAsked is how many shards' stewards are asked at once.
const maxShardsAsked = 16

// allRuns are the runs of all of a job's tasks, in their order.
func (n *Node) allRuns(ctx context.Context, st protocol.JobState) []protocol.TaskRun {
	shards := make([][]protocol.TaskRun, min(max(st.Shards, 1), protocol.MaxShards+1))
	var asked errgroup.Group
	asked.SetLimit(maxShardsAsked)
	for shard := range shards {
		asked.Go(func() error {
			shards[shard] = n.runs(ctx, st, shard)
			return nil
		})
	}
	_ = asked.Wait() // none fails
	out := slices.Concat(shards...)
	slices.SortStableFunc(out, func(a, b protocol.TaskRun) int { return a.Task.Compare(b.Task) })
	return out
}

// runs asks a shard's stewards for all runs of its tasks and takes the account
// of the one that knows most; everybody, when none of them has any that there
// must be.
func (n *Node) runs(ctx context.Context, st protocol.JobState, shard int) []protocol.TaskRun {
	ask := scheduler.Stewards(string(st.Job), shard, protocol.DefaultCopies, n.storing())
	best := n.mostRuns(ctx, ask, protocol.JobRef{Job: st.Job, Shard: shard})
	if len(best) == 0 && (shard == 0 || st.State.Ended()) {
		best = n.mostRuns(ctx, n.mesh.Alive(), protocol.JobRef{Job: st.Job, Shard: shard})
	}
	return best
}

// mostRuns asks several nodes at once and returns the longest account.
func (n *Node) mostRuns(ctx context.Context, ask []peer.ID, ref protocol.JobRef) []protocol.TaskRun {
	lists := make([][]protocol.TaskRun, len(ask))
	var wg sync.WaitGroup
	for i, id := range ask {
		wg.Go(func() { lists[i] = n.runsAt(ctx, id, ref) })
	}
	wg.Wait()
	return slices.MaxFunc(append(lists, nil), func(a, b []protocol.TaskRun) int { return cmp.Compare(len(a), len(b)) })
}

// runsAt is one node's account, page by page.
func (n *Node) runsAt(ctx context.Context, id peer.ID, ref protocol.JobRef) []protocol.TaskRun {
	var out []protocol.TaskRun
	for len(out) < protocol.MaxTasks {
		ref.From = len(out)
		a, err := n.caller.call(ctx, id, &protocol.Request{Runs: &ref}, callWait)
		if err != nil || len(a.Runs) == 0 {
			break
		}
		out = append(out, a.Runs...)
	}
	return out
}

// Cancel ends the job without a result. It fails with ErrUnknownJob and
// ErrEnded.
func (n *Node) Cancel(ctx context.Context, job protocol.CID) error {
	s, err := n.state(ctx, job)
	if err != nil {
		return err
	}
	if s.State.Ended() {
		return fmt.Errorf("%w: it is %s, and stays so", ErrEnded, s.State)
	}
	fact, err := protocol.SignFact(protocol.Fact{Job: job, Kind: protocol.Cancelled, At: time.Now(), Text: "cancelled on node " + n.cfg.Name}, n.mesh.Key())
	if err != nil {
		return err
	}
	q := &protocol.Request{Cancel: &protocol.Cancel{Job: job, Fact: fact}}
	known := false
	var last error
	for _, id := range s.Stewards {
		a, err := n.caller.call(ctx, id, q, callWait)
		if err != nil {
			last = err
			continue
		}
		known = known || a.Known
	}
	if !known {
		return fmt.Errorf("no steward took the cancellation: %w", last)
	}
	return nil
}

// JobInputs are the roots of a job's inputs. It fails with ErrUnknownJob when
// this node does not hold the job's manifest.
func (n *Node) JobInputs(ctx context.Context, job protocol.CID) ([]protocol.CID, error) {
	doc, err := n.store.Get(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("%w on this node: %s", ErrUnknownJob, job)
	}
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		return nil, err
	}
	return m.Inputs, nil
}
