package main

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// What is asked of the mesh after a fault, beside the job itself.

// probed is what came of submitting new work.
type probed struct {
	took float64 // seconds until it was committed, or never
	err  error
}

// probe submits a job of one task at a node that stays, and sees it through.
func (t *trial) probe(ctx context.Context) {
	took, err := t.newWork(ctx)
	t.accepted <- probed{took, err}
}

func (t *trial) newWork(ctx context.Context) (float64, error) {
	w, err := newWorkload(t.fleet.dir, "probe", 1, time.Millisecond, 0)
	if err != nil {
		return never, err
	}
	began := time.Now()
	job, err := t.observer.client.Submit(ctx, w.spec, nil)
	if err != nil {
		return never, fmt.Errorf("new work was not accepted within %s: %w", time.Since(began).Round(time.Millisecond), err)
	}
	took := seconds(time.Since(began))
	st, err := t.observer.client.Wait(ctx, job, func(node.JobStatus) {})
	if err != nil {
		return took, fmt.Errorf("waiting for new work: %w", err)
	}
	if st.State != protocol.StateFinal {
		return took, fmt.Errorf("new work ended %s: %s", st.State, st.Error)
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

// cont lets stopped nodes go on.
func (t *trial) cont() error {
	t.resumed = true
	var stopped []int
	for _, m := range t.fleet.members {
		if m.hit {
			stopped = append(stopped, m.index)
		}
	}
	return t.fleet.strike(stopped, syscall.SIGCONT)
}

// comeBack lets stopped nodes go on, where the case says so, and holds that
// each learns how the job ended.
func (t *trial) comeBack(ctx context.Context) error {
	if t.resume == 0 || t.struck.IsZero() {
		return nil
	}
	back := t.returning()
	if !t.resumed {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(t.resume - time.Since(t.struck)):
		}
		if err := t.cont(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rejoinWithin, fmt.Errorf("a resumed node did not learn within %s how the job ended", rejoinWithin))
	defer cancel()
	for _, m := range back {
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

// returning are the nodes that were hit.
func (t *trial) returning() []*member {
	var ids []peer.ID
	var back []*member
	for _, m := range t.fleet.members {
		if m.hit && !slices.Contains(ids, m.id) {
			ids, back = append(ids, m.id), append(back, m)
		}
	}
	return back
}
