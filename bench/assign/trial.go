package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// result is what one trial gave. Times are seconds.
type result struct {
	Case     string           `json:"case"`
	Run      int              `json:"run"`
	Tasks    int              `json:"tasks"`
	Right    bool             `json:"right"`
	Problem  string           `json:"problem,omitempty"`
	Submit   float64          `json:"submit"`   // until the last job was committed
	Makespan float64          `json:"makespan"` // from the first submission until the last job was final
	Waited   float64          `json:"waited"`   // the same as who waits sees it
	Bound    float64          `json:"bound"`
	Turns    []float64        `json:"turns"`    // of each job, from its submission to its end
	Extra    int              `json:"extra"`    // runs beyond one a task
	Fewest   int              `json:"fewest"`   // tasks that a node ran
	Most     int              `json:"most"`     // the same
	CPU      float64          `json:"cpu"`      // of the whole process, also of tasks that spin
	Messages map[string]int64 `json:"messages"` // that all nodes sent, by kind
}

func (r result) ratio() float64 {
	if r.Bound == 0 {
		return unknown
	}
	return r.Makespan / r.Bound
}

// runTrial runs the jobs of an experiment and checks their results.
func runTrial(ctx context.Context, m *mesh, e experiment, jobs []job, run int) result {
	res := result{Case: e.name, Run: run, Tasks: e.tasks(), Bound: e.bound().Seconds(), Turns: make([]float64, len(jobs))}
	before, cpu := sent(m), processorTime()
	began := time.Now()
	var wg sync.WaitGroup
	errs := make([]error, len(jobs))
	ends := make([]node.JobStatus, len(jobs))
	ids := make([]protocol.CID, len(jobs))
	for i, j := range jobs {
		submitted := time.Now()
		if ids[i], errs[i] = m.net.Node(0).Submit(ctx, j.spec, nil); errs[i] != nil {
			break
		}
		wg.Go(func() {
			ends[i], errs[i] = m.net.Node(0).Wait(ctx, ids[i], nil)
			if errs[i] == nil && ends[i].Finished != nil {
				res.Turns[i] = ends[i].Finished.Sub(submitted).Seconds()
			}
		})
	}
	res.Submit = time.Since(began).Seconds()
	wg.Wait()
	res.Waited = time.Since(began).Seconds()
	res.CPU = (processorTime() - cpu).Seconds()
	err := errors.Join(errs...)
	if err == nil {
		res.take(began, ends, len(m.nodes()))
		res.Messages = since(before, sent(m))
		err = check(ctx, m, jobs, ids, ends)
	}
	if err != nil {
		res.Problem = err.Error()
	}
	res.Right = err == nil
	return res
}

// take notes what the jobs' last statuses say. Their times are of this machine's
// clock, so a job's end is known better than a waiting caller sees it.
func (r *result) take(began time.Time, ends []node.JobStatus, nodes int) {
	did := map[string]int{}
	for _, st := range ends {
		if st.Finished != nil {
			r.Makespan = max(r.Makespan, st.Finished.Sub(began).Seconds())
		}
		r.Extra += st.Executions - st.Total
		for id, n := range st.Workers {
			did[string(id)] += n
		}
	}
	r.Fewest = r.Tasks
	for _, n := range did {
		r.Fewest, r.Most = min(r.Fewest, n), max(r.Most, n)
	}
	if len(did) < nodes {
		r.Fewest = 0
	}
}

// check compares each result with what a sequential run gives.
func check(ctx context.Context, m *mesh, jobs []job, ids []protocol.CID, ends []node.JobStatus) error {
	for i, j := range jobs {
		if ends[i].State != protocol.StateFinal {
			return fmt.Errorf("job %s ended %s: %s", j.spec.Name, ends[i].State, ends[i].Error)
		}
		var got bytes.Buffer
		if _, err := m.net.Node(1).Result(ctx, ids[i], &got); err != nil {
			return fmt.Errorf("collecting the result of job %s: %w", j.spec.Name, err)
		}
		if !bytes.Equal(got.Bytes(), j.want) {
			return fmt.Errorf("the result of job %s is wrong: %d bytes, not %d, or others", j.spec.Name, got.Len(), len(j.want))
		}
	}
	return nil
}

// processorTime is what this process has used up.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
