package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// What is asked of the mesh after a fault, beside the job itself.

// probed is what came of submitting new work.
type probed struct {
	took float64 // seconds until all of it was committed, or never
	err  error
}

// probe submits a job of one task at every node that stays, at once, and sees
// them through.
func (t *trial) probe(ctx context.Context, nodes []*member) {
	results := make([]probed, len(nodes))
	var wg sync.WaitGroup
	for i, m := range nodes {
		wg.Go(func() { results[i].took, results[i].err = t.newWork(ctx, m) })
	}
	wg.Wait()
	var all probed
	for _, p := range results {
		all.err = errors.Join(all.err, p.err)
		if p.took == never || all.took == never {
			all.took = never
			continue
		}
		all.took = max(all.took, p.took)
	}
	t.accepted <- all
}

func (t *trial) newWork(ctx context.Context, m *member) (float64, error) {
	w, err := newWorkload(t.fleet.dir, fmt.Sprintf("probe%d", m.index), 1, time.Millisecond, 0)
	if err != nil {
		return never, err
	}
	began := time.Now()
	job, err := m.client.Submit(ctx, w.spec, nil)
	if err != nil {
		return never, fmt.Errorf("new work was not accepted by node %d within %s: %w", m.index, time.Since(began).Round(time.Millisecond), err)
	}
	took := seconds(time.Since(began))
	st, err := m.client.Wait(ctx, job, func(node.JobStatus) {})
	if err != nil {
		return took, fmt.Errorf("waiting for new work of node %d: %w", m.index, err)
	}
	if st.State != protocol.StateFinal {
		return took, fmt.Errorf("new work of node %d ended %s: %s", m.index, st.State, st.Error)
	}
	return took, nil
}

// notice looks whether the observer still believes a victim alive.
func (t *trial) notice(ctx context.Context) {
	peers, err := t.observer.client.Peers(ctx)
	if err != nil {
		return
	}
	for _, p := range peers {
		if i := t.fleet.index(p.ID); i >= 0 && t.fleet.members[i].hit && p.State == node.Alive {
			return
		}
	}
	t.res.Noticed = seconds(time.Since(t.struck))
}

// relieve ends the fault, and remembers who was under it.
func (t *trial) relieve() error {
	t.relieved = t.fleet.hit()
	return t.fleet.relieve(t.relieved, t.fault)
}

// recovered reports whether the mesh is ready for the next blow: the job has as
// many stewards as before, and the killed nodes are back where the case has
// them start again.
func (t *trial) recovered(ctx context.Context, st node.JobStatus) (bool, error) {
	if !t.replaced(st) {
		return false, nil
	}
	if !t.restart {
		return true, nil
	}
	for _, i := range t.fleet.hit() {
		m := t.fleet.members[i]
		select {
		case <-m.exited:
		default:
			return false, nil
		}
		_ = m.client.Close()
		m.client = nil
		if err := t.fleet.launch(m, ""); err != nil {
			return false, err
		}
		m.hit, m.back = false, true
	}
	for _, m := range t.fleet.members {
		if !m.back || m.client != nil {
			continue
		}
		var ended *endedError
		if err := m.reach(ctx); errors.As(err, &ended) {
			return false, err
		} else if err != nil {
			return false, nil
		}
	}
	return t.allAlive(ctx), nil
}

// allAlive reports whether the observer believes in every node that is not
// under a fault.
func (t *trial) allAlive(ctx context.Context) bool {
	peers, err := t.observer.client.Peers(ctx)
	if err != nil {
		return false
	}
	alive := 0
	for _, p := range peers {
		if p.State == node.Alive {
			alive++
		}
	}
	return alive >= len(t.fleet.members)-len(t.fleet.hit())
}

// comeBack ends the fault, where the case says that it ends, and holds that
// each node that was away learns how the job ended.
func (t *trial) comeBack(ctx context.Context) error {
	if t.heals && !t.struck.IsZero() && t.relieved == nil {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(t.away - time.Since(t.struck)):
		}
		if err := t.relieve(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rejoinWithin, fmt.Errorf("a node that was away did not learn within %s how the job ended", rejoinWithin))
	defer cancel()
	for _, m := range t.returned() {
		err := poll(ctx, func() error {
			st, err := m.client.JobStatus(ctx, t.job)
			if err == nil && (st.State != t.res.End.State || st.Root != t.res.End.Root) {
				err = fmt.Errorf("node %d says %s with root %s", m.index, st.State, st.Root)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// returned are the nodes that were away and answer again.
func (t *trial) returned() []*member {
	var list []*member
	for _, i := range t.relieved {
		list = append(list, t.fleet.members[i])
	}
	for _, m := range t.fleet.members {
		if m.back && m.client != nil {
			list = append(list, m)
		}
	}
	return list
}
