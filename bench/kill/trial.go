package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

const (
	answerWithin = 5 * time.Second  // a status, on a busy machine
	rejoinWithin = 30 * time.Second // for resumed nodes to know the job's end
)

// trial is one run of one case.
type trial struct {
	options
	scenario
	fleet    *fleet
	work     *workload
	job      protocol.CID
	observer *member // that stays
	blows    [][]int
	struck   time.Time // when the first blow fell; zero before
	relieved []int     // who was under the fault when it was ended
	began    time.Time // of the job
	progress progress
	asked    error // what came of the last question for the status
	accepted chan probed
	res      result
}

// progress follows the number of done tasks.
type progress struct {
	peak int
	at   time.Time // when it last rose
}

// runTrial runs one case on a mesh of its own.
func runTrial(ctx context.Context, o options, s scenario, dir string, run int) result {
	t := &trial{options: o, scenario: s, accepted: make(chan probed, 1)}
	t.res = result{Case: s.name, Run: run, Next: never, Noticed: never, Accepted: never}
	if s.early > 0 {
		t.at = s.early
	}
	dir = filepath.Join(dir, fmt.Sprintf("%s-%d", s.name, run))
	if err := t.run(ctx, dir); err != nil {
		t.problem(err)
	}
	if !o.keep {
		if err := os.RemoveAll(dir); err != nil {
			t.problem(err)
		}
	}
	return t.res
}

func (t *trial) problem(err error) {
	if t.res.Problem != "" {
		t.res.Problem += "; "
	}
	t.res.Problem += err.Error()
}

func (t *trial) run(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the trial's folder: %w", err)
	}
	began := time.Now()
	var err error
	t.fleet, err = startFleet(ctx, t.options, dir)
	defer func() {
		if err := t.fleet.end(); err != nil {
			t.problem(err)
		}
	}()
	if err != nil {
		return err
	}
	t.res.Startup = seconds(time.Since(began))
	if t.work, err = newWorkload(dir, "kill", t.tasks, t.length, t.copies); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.limit+t.away, fmt.Errorf("the job was not done within %s", t.limit))
	defer cancel()
	if err := t.submit(ctx); err != nil {
		return err
	}
	if err := t.watch(ctx); err != nil {
		t.res.Outcome = t.outcome()
		return errors.Join(err, t.testify())
	}
	err = t.settle(ctx, dir)
	t.res.Outcome = t.outcome()
	return err
}

// submit submits the job at the last node, and chooses an observer that no case
// hits: neither submitter nor steward, and the last that a case would pick.
func (t *trial) submit(ctx context.Context) error {
	submitter := t.fleet.members[len(t.fleet.members)-1]
	began := time.Now()
	var err error
	if t.job, err = submitter.client.Submit(ctx, t.work.spec, nil); err != nil {
		return fmt.Errorf("submitting the job: %w", err)
	}
	t.began = time.Now()
	t.progress.at = t.began
	t.res.Submit = seconds(t.began.Sub(began))
	st, err := submitter.client.JobStatus(ctx, t.job)
	if err != nil {
		return fmt.Errorf("asking for the job's stewards: %w", err)
	}
	for _, m := range t.fleet.members {
		if m != submitter && !slices.Contains(st.Stewards, m.id) {
			t.observer = m
			return nil
		}
	}
	return errors.New("every node has a role: nobody is left to observe")
}

// watch follows the job from the observer, strikes, and returns when the job
// has ended.
func (t *trial) watch(ctx context.Context) error {
	for {
		st, err := t.status(ctx)
		now := time.Now()
		t.asked = err
		if err != nil {
			t.res.Unanswered++
		} else {
			t.res.End = st
			t.count(st, now)
			if err := t.act(ctx, st, now); err != nil {
				return err
			}
			if st.State.Ended() {
				t.finish(st, now)
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(askEvery):
		}
		if time.Since(t.began) > t.limit {
			return fmt.Errorf("the job was not done within %s; last: %v", t.limit, err)
		}
	}
}

func (t *trial) status(ctx context.Context) (node.JobStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	began := time.Now()
	st, err := t.observer.client.JobStatus(ctx, t.job)
	t.res.Slowest = max(t.res.Slowest, seconds(time.Since(began)))
	return st, err
}

// count follows the number of done tasks.
func (t *trial) count(st node.JobStatus, now time.Time) {
	p := &t.progress
	t.res.Fell = max(t.res.Fell, p.peak-st.Done)
	if st.Done <= p.peak {
		return
	}
	if !t.struck.IsZero() {
		if t.res.Next == never {
			t.res.Next = seconds(now.Sub(t.struck))
		}
		t.res.Pause = max(t.res.Pause, seconds(now.Sub(p.at)))
	}
	p.peak, p.at = st.Done, now
}

// act strikes when it is time to, ends the fault, and looks whether it was
// noticed.
func (t *trial) act(ctx context.Context, st node.JobStatus, now time.Time) error {
	switch {
	case st.State.Ended():
		return nil
	case t.struck.IsZero():
		if st.Done*100 < t.at*st.Total {
			return nil
		}
		return t.first(ctx, st)
	}
	if t.res.Noticed == never {
		t.notice(ctx)
	}
	if len(t.blows) > 0 {
		ready, err := t.recovered(ctx, st)
		if err != nil || !ready {
			return err
		}
		return t.nextBlow()
	}
	if t.heals && t.relieved == nil && now.Sub(t.struck) >= t.away {
		return t.relieve()
	}
	return nil
}

// first strikes for the first time.
func (t *trial) first(ctx context.Context, st node.JobStatus) error {
	t.blows = t.victims(t.roles(st))
	t.res.FaultAt = seconds(time.Since(t.began))
	t.res.DoneAt = st.Done
	t.struck = time.Now()
	switch {
	case len(t.blows) > 0:
		if err := t.nextBlow(); err != nil {
			return err
		}
	case t.fault != nothing:
		return errors.New("no node has the role that this case hits; use more --nodes")
	default:
		t.res.Noticed = 0
	}
	// Those that a later blow will hit are left out: their clients end with them.
	go t.probe(ctx, slices.DeleteFunc(t.fleet.spared(), func(m *member) bool { return slices.Contains(slices.Concat(t.blows...), m.index) }))
	return nil
}

func (t *trial) nextBlow() error {
	blow := t.blows[0]
	t.blows = t.blows[1:]
	if slices.Contains(blow, t.observer.index) {
		return errors.New("this case hits the observer; use more --nodes")
	}
	for _, i := range blow {
		t.res.Victims = append(t.res.Victims, t.describe(i))
	}
	return t.fleet.strike(blow, t.fault)
}

// describe names a node by what it does in the job.
func (t *trial) describe(i int) string {
	m := t.fleet.members[i]
	text := fmt.Sprintf("n%d", i)
	if rank := slices.Index(t.res.End.Stewards, m.id); rank >= 0 {
		text += fmt.Sprintf(" steward%d", rank)
	}
	if m.id == t.res.End.Submitter {
		text += " submitter"
	}
	return text
}

// roles says who does what, the observer left out of the busy ones.
func (t *trial) roles(st node.JobStatus) roles {
	r := roles{nodes: len(t.fleet.members), submitter: len(t.fleet.members) - 1}
	for _, id := range st.Stewards {
		r.stewards = append(r.stewards, t.fleet.index(id))
	}
	for _, m := range t.fleet.members {
		if m != t.observer {
			r.busy = append(r.busy, m.index)
		}
	}
	slices.SortStableFunc(r.busy, func(a, b int) int {
		return st.Workers[t.fleet.members[b].id] - st.Workers[t.fleet.members[a].id]
	})
	return r
}

// replaced reports whether the job has as many stewards as before, and no
// victim among them.
func (t *trial) replaced(st node.JobStatus) bool {
	for _, m := range t.fleet.members {
		if m.hit && slices.Contains(st.Stewards, m.id) {
			return false
		}
	}
	return len(st.Stewards) >= protocol.DefaultCopies && st.Done > t.res.DoneAt
}

// finish notes how the job ended.
func (t *trial) finish(st node.JobStatus, now time.Time) {
	t.res.Makespan = seconds(now.Sub(t.began))
	t.res.Tail = seconds(now.Sub(t.progress.at))
	t.res.Finished = st.State == protocol.StateFinal
	switch {
	case !t.res.Finished:
		t.problem(fmt.Errorf("the job ended %s: %s", st.State, st.Error))
	case t.struck.IsZero() || len(t.blows) > 0:
		t.problem(errors.New("the job ended before the last fault; give it more --tasks"))
	}
}

// settle compares the result, waits for what runs beside, and lets stopped
// nodes come back.
func (t *trial) settle(ctx context.Context, dir string) error {
	if t.res.Finished {
		var got bytes.Buffer
		if _, err := t.observer.client.Result(ctx, t.job, &got); err != nil {
			return fmt.Errorf("collecting the result: %w", err)
		}
		t.res.Right = bytes.Equal(got.Bytes(), t.work.want)
		if !t.res.Right {
			kept := filepath.Join(os.TempDir(), filepath.Base(dir)+".wrong")
			return errors.Join(fmt.Errorf("the result of %d bytes is wrong, it is kept in %s", got.Len(), kept), os.WriteFile(kept, got.Bytes(), 0o600))
		}
	}
	var err error
	if !t.struck.IsZero() {
		p := <-t.accepted
		t.res.Accepted, err = p.took, p.err
	}
	return errors.Join(err, t.comeBack(ctx), t.testify())
}

// outcome says in a word how the trial ended. A job that is lost has said so
// when its status names a reason, or nobody knows it any more.
func (t *trial) outcome() string {
	st := t.res.End
	switch {
	case t.res.Right:
		return right
	case t.res.Finished:
		return wrong
	case st.State.Ended() && st.Error != "", !st.State.Ended() && st.Waiting != "", t.asked != nil && st.Job.Defined():
		return said
	}
	return silent
}

// testify counts what the tasks themselves wrote.
func (t *trial) testify() error {
	seen, err := t.work.testimony()
	t.res.Extra, t.res.Again, t.res.Redone = seen.starts-t.tasks, seen.again, seen.redone
	t.res.Lost = min(t.res.Fell, t.res.Redone)
	return err
}
