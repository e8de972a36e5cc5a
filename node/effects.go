package node

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/task"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// perform carries out what the machines want done.
func (l *loop) perform(now time.Time, effects []scheduler.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case scheduler.Send:
			l.send(e.To, e.Message)
		case scheduler.Start:
			l.begin(e)
		case scheduler.Fetch:
			l.fetch(e)
		case scheduler.Stop:
			if cancel := l.running[e.Job][e.Task]; cancel != nil {
				cancel()
			}
		case scheduler.Stole:
			l.stole(e)
		case scheduler.Check:
			l.check(e)
		case scheduler.Settle:
			l.settle(e)
		case scheduler.Conclude:
			l.state(now, protocol.Fact{Job: e.Job, Kind: protocol.Failed, At: now, Text: e.Text})
		case scheduler.Noted:
			l.n.log.LogAttrs(context.Background(), slog.LevelInfo, e.What, slog.String("job", e.Job.String()), slog.String("task", e.Task.String()), slog.String("peer", e.Peer.String()), slog.String("why", e.Why))
		}
	}
}

// stole tells the stewards of tasks that this node has taken them from another.
func (l *loop) stole(e scheduler.Stole) {
	j := l.jobs[e.Job]
	if j == nil {
		return
	}
	for shard, keys := range inOrder(j.plan.Layout.ByShard(e.Tasks)) {
		for _, id := range l.stewardsOf(e.Job, shard) {
			l.send(id, &protocol.Stolen{Job: e.Job, From: e.From, Tasks: keys})
		}
	}
}

// begin runs a task in a goroutine of its own.
func (l *loop) begin(e scheduler.Start) {
	j := l.jobs[e.Job]
	if j == nil {
		return
	}
	if scheduler.LifeOf(j.plan.Manifest, l.n.absolute()) != scheduler.Running {
		now := time.Now()
		l.halt(now, e.Job)
		l.endedRun(now, e.Job, e.Task, 0)
		l.worker.Told(e.Job, e.Task)
		return
	}
	ctx, cancel := context.WithCancel(l.n.ctx)
	if l.running[e.Job] == nil {
		l.running[e.Job] = map[protocol.Key]context.CancelFunc{}
	}
	l.running[e.Job][e.Task] = cancel
	m := j.plan.Manifest
	l.n.wg.Go(func() {
		defer cancel()
		l.n.work(ctx, e, m)
	})
}

// fetch brings what a task that waits here reads, unless enough is being
// fetched: the task will bring what it lacks.
func (l *loop) fetch(e scheduler.Fetch) {
	j := l.jobs[e.Job]
	if j == nil {
		return
	}
	select {
	case l.n.fetching <- struct{}{}:
	default:
		return
	}
	m := j.plan.Manifest
	l.n.wg.Go(func() {
		defer func() { <-l.n.fetching }()
		ctx, cancel := context.WithTimeout(l.n.ctx, fetchWait)
		defer cancel()
		l.n.runner.Prefetch(ctx, task.Work{Job: e.Job, Manifest: m, Task: e.Task, Inputs: e.Inputs})
	})
}

// Bounds of fetching ahead.
const (
	maxFetching = 8
	fetchWait   = time.Minute
)

// endedRun notes that a task's run is over: its slot is free. It reports
// whether nothing is left to run here.
func (l *loop) endedRun(now time.Time, id protocol.CID, k protocol.Key, took time.Duration) (last bool) {
	delete(l.running[id], k)
	if len(l.running[id]) == 0 {
		delete(l.running, id)
	}
	l.perform(now, l.worker.Ended(now, id, k, took))
	running, _ := l.worker.Load()
	return running == 0
}

// state signs a fact of this node's and spreads it.
func (l *loop) state(now time.Time, f protocol.Fact) {
	j := l.jobs[f.Job]
	if j == nil {
		return
	}
	signed, open, err := l.n.signFact(f)
	if err != nil {
		l.n.log.Error("fact not signed", "job", f.Job, "error", err)
		return
	}
	o := opened{facts: []openFact{{signed, open}}}
	l.add(now, j, o)
	l.tell(now, j, o)
}

// signFact signs a fact of this node's and returns it as others read it: times
// lose their last digits on the way, and in the order of a ledger what differs
// by them is two.
func (n *Node) signFact(f protocol.Fact) (protocol.Signed, *protocol.Fact, error) {
	signed, err := protocol.SignFact(f, n.mesh.Key())
	if err != nil {
		return protocol.Signed{}, nil, err
	}
	open, err := protocol.OpenFact(signed)
	return signed, open, err
}

// tell brings receipts and facts of this node to the stewards of the shards
// that hear of them.
func (l *loop) tell(now time.Time, j *job, o opened) {
	mail := scheduler.Mail{}
	for _, r := range o.receipts {
		mail.Receipt(j.plan.Layout, r.open.Task, r.signed)
	}
	for _, f := range o.facts {
		mail.Fact(j.plan.Layout, f.open, f.signed)
	}
	for _, d := range mail.Messages(j.plan.Job) {
		l.perform(now, l.courier.Post(now, d, others(j.stewardsOf(d.Shard), l.n.id)))
	}
}

func others(list []peer.ID, self peer.ID) []peer.ID {
	var out []peer.ID
	for _, id := range list {
		if id != self {
			out = append(out, id)
		}
	}
	return out
}

// opened is what a message brought, checked: signatures hold and bounds too.
type opened struct {
	receipts []openReceipt
	facts    []openFact
}

type openReceipt struct {
	signed protocol.SignedReceipt
	open   *protocol.Receipt
}

type openFact struct {
	signed protocol.Signed
	open   *protocol.Fact
}

// add joins checked receipts and facts into a job's ledger, in memory and on
// disk, and acts on how they change it.
func (l *loop) add(now time.Time, j *job, o opened) {
	touched := map[int]bool{0: true}
	for _, r := range o.receipts {
		if !l.n.takes(j.plan.Manifest, r.open.Task) || !j.plan.AddReceipt(r.signed, r.open) {
			continue
		}
		j.unkept = !l.n.keepReceipt(j.plan.Job, r) || j.unkept
		touched[j.plan.Layout.ShardOf(r.open.Task)] = true
		if st := j.of(r.open.Task); st != nil {
			l.perform(now, st.Received(now, r.open))
		}
	}
	for _, f := range o.facts {
		if !l.n.allows(j.plan.Manifest, f.open) {
			continue
		}
		if !j.plan.AddFact(f.signed, f.open) {
			continue
		}
		j.unkept = !l.n.keepFact(j.plan.Job, f.signed) || j.unkept
		if run := f.open.Run; run != nil {
			touched[j.plan.Layout.ShardOf(run.Task)] = true
			if st := j.of(run.Task); st != nil {
				st.FailedRun(now, f.open.By, run)
			}
		}
	}
	if !j.ended && j.plan.Ended() != nil {
		l.end(now, j)
	}
	if !j.ended {
		l.tickSome(now, j, touched)
	}
}

// end acts on a job's end: nothing of it runs here any more, and whoever was
// working for it hears of it, from the job shard's stewards also those of the
// other shards.
func (l *loop) end(now time.Time, j *job) {
	l.tickAll(now, j) // frees reservations
	j.ended, j.endedAt = true, now
	id := j.plan.Job
	l.perform(now, l.worker.Drop(id))
	fact := j.plan.Ended()
	l.n.log.Info("job ended", "job", id, "how", fact.Kind, "why", fact.Text)
	ends := j.plan.Ledger.Stated(fact.Kind)
	hear := map[peer.ID]bool{l.n.id: true}
	tell := func(ids []peer.ID) {
		for _, to := range ids {
			if !hear[to] {
				hear[to] = true
				l.send(to, &protocol.Done{Job: id, Facts: ends})
			}
		}
	}
	for _, st := range j.each() {
		tell(st.Involved())
	}
	if slices.Contains(j.stewardsOf(0), l.n.id) {
		for shard := 1; shard < j.plan.Layout.Shards(); shard++ {
			tell(j.stewardsOf(shard))
		}
	}
}
