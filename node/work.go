package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/task"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
	"github.com/meshnode/meshnode/storage"
)

// ended is a run of a task that has ended, on its way to the stewards.
type ended struct {
	receipt protocol.Receipt
	data    bool // of the stage whose results the root joins
	joins   bool // only links to results of others
	copies  int  // of the job
	last    bool // nothing runs here any more, for which its receipt could wait
}

// work runs one task to its end and hands over what came of it.
func (n *Node) work(ctx context.Context, e scheduler.Start, m *protocol.Manifest) {
	began := time.Now()
	out, err := n.runner.Run(ctx, task.Work{Job: e.Job, Manifest: m, Task: e.Task, Inputs: e.Inputs})
	took := time.Since(began)
	last := false
	n.loop.do(n.ctx, func(now time.Time) { last = n.loop.endedRun(now, e.Job, e.Task, took) })
	if ctx.Err() != nil {
		n.loop.post(n.ctx, func(time.Time) { n.loop.worker.Told(e.Job, e.Task) })
		return
	}
	digest := inputsDigest(e)
	if err != nil {
		n.failed(e, digest, err)
		return
	}
	r := protocol.Receipt{
		Job: e.Job, Task: e.Task, Inputs: digest, Result: out.Result, Size: out.Size,
		Log: n.keepLog(out.Log), Worker: n.id, Took: took, Block: out.Block,
	}
	select {
	case n.finished <- ended{r, e.Task.Stage >= scheduler.DataStage(m), m.Stages[e.Task.Stage].Kind == protocol.ConcatStage, m.Copies, last}:
	case <-n.ctx.Done():
	}
}

// inputsDigest is the digest of what the task has read.
func inputsDigest(e scheduler.Start) protocol.Digest {
	cids := make([]protocol.CID, len(e.Inputs))
	for i, in := range e.Inputs {
		cids[i] = in.CID
	}
	return protocol.InputsDigest(e.Task.Index, cids)
}

// keepLog stores a task's log as a block and returns its CID; the zero CID for
// an empty log, or when the disk refuses: a log is worth less than its result.
func (n *Node) keepLog(log []byte) protocol.CID {
	if len(log) == 0 {
		return ""
	}
	c := protocol.NewCID(protocol.CodecRaw, log)
	if err := n.store.Put(n.ctx, c, log); err != nil {
		n.log.Warn("task log not kept", "error", err)
		return ""
	}
	return c
}

// failed states that a run failed.
func (n *Node) failed(e scheduler.Start, inputs protocol.Digest, err error) {
	var f *task.Failed
	if !errors.As(err, &f) {
		f = &task.Failed{Kind: protocol.FailHost, Text: err.Error()}
	}
	run := &protocol.Failure{
		Task: e.Task, Inputs: inputs, Kind: f.Kind, Code: f.Code, Lost: f.Lost,
		Text: f.Text[:min(len(f.Text), protocol.MaxText/2)], Tail: tail(f.Log), Log: n.keepLog(f.Log),
	}
	n.log.Info("task failed", "job", e.Job, "task", e.Task, "kind", f.Kind, "error", f.Text)
	n.loop.post(n.ctx, func(now time.Time) {
		n.loop.state(now, protocol.Fact{Job: e.Job, Kind: protocol.FailedRun, At: now, Run: run})
		n.loop.worker.Told(e.Job, e.Task)
	})
}

// tailLines is how many lines of a failed task's log people are shown.
const tailLines = 20

// tail is the end of a log: its last lines, of bounded size.
func tail(log []byte) []byte {
	log = log[max(0, len(log)-protocol.MaxTail):]
	lines := 0
	for i := len(log) - 2; i >= 0; i-- {
		if log[i] == '\n' {
			if lines++; lines == tailLines {
				return log[i+1:]
			}
		}
	}
	return log
}

// deliver signs receipts in batches, has large results copied to where they
// belong, and gives the receipts to the loop for the stewards.
func (n *Node) deliver() {
	for {
		var batch []ended
		select {
		case e := <-n.finished:
			batch = append(batch, e)
		case <-n.ctx.Done():
			return
		}
		flush := time.NewTimer(protocol.DoneFlush)
	collect:
		for len(batch) < protocol.MaxReceiptBatch && !batch[len(batch)-1].last {
			select {
			case e := <-n.finished:
				batch = append(batch, e)
			case <-flush.C:
				break collect
			case <-n.ctx.Done():
				return
			}
		}
		flush.Stop()
		n.deliverBatch(batch)
	}
}

func (n *Node) deliverBatch(batch []ended) {
	receipts := make([]protocol.Receipt, len(batch))
	for i, e := range batch {
		receipts[i] = e.receipt
	}
	signed, err := protocol.SignReceipts(receipts, n.mesh.Key())
	if err != nil {
		n.log.Error("receipts not signed", "error", err)
		return
	}
	byJob := map[protocol.CID][]openReceipt{}
	for i, e := range batch {
		r := openReceipt{signed[i], &batch[i].receipt}
		// What joins results is made again in a moment, and its copies are made
		// when its parts are: they would bring the parts, without their receipts.
		if len(e.receipt.Block) > 0 && !e.receipt.Log.Defined() || e.joins {
			byJob[e.receipt.Job] = append(byJob[e.receipt.Job], r)
			continue
		}
		n.wg.Go(func() { // its copies first: a receipt counts with them
			n.spread(e, r.signed)
			n.told(e.receipt.Job, []openReceipt{r})
		})
	}
	for job, list := range byJob {
		n.told(job, list)
	}
}

// told hands receipts to the loop, which tells the stewards.
func (n *Node) told(job protocol.CID, list []openReceipt) {
	n.loop.post(n.ctx, func(now time.Time) {
		j, o := n.loop.jobs[job], opened{receipts: list}
		if j != nil {
			n.loop.add(now, j, o)
		}
		for _, r := range list { // of a job that was forgotten too
			n.loop.worker.Told(job, r.open.Task)
		}
		if j != nil {
			n.loop.tell(now, j, o)
		}
	})
}

// spread has a result, and its log, copied to other nodes: intermediates to
// one, what the root will join to the job's stewards.
func (n *Node) spread(e ended, receipt protocol.SignedReceipt) {
	roots := []protocol.CID{e.receipt.Result}
	if e.receipt.Log.Defined() {
		roots = append(roots, e.receipt.Log)
	}
	alive := n.storing()
	copies := min(protocol.IntermediateCopies, e.copies)
	key := fmt.Sprintf("%s/%d/%d", string(e.receipt.Job), e.receipt.Task.Stage, e.receipt.Task.Index/protocol.MaxOfferBatch)
	if e.data {
		copies, key = e.copies, string(e.receipt.Job)
	}
	targets := scheduler.Rank(key, alive)
	if e.data && slices.Contains(targets[:min(copies, len(targets))], n.id) {
		copies-- // this node is one of them
	} else if !e.data {
		copies--
	}
	hold := &protocol.Request{Hold: &protocol.Hold{Roots: roots, Sources: []peer.ID{n.id}, Job: e.receipt.Job, Receipts: []protocol.SignedReceipt{receipt}}}
	n.holdAt(n.ctx, others(targets, n.id), copies, hold)
}

// maxHoldFailures is how many nodes may refuse or fail before a copy is given
// up: lineage can still recompute it.
const maxHoldFailures = 3

// taskInputs reads what tasks need: from this node, from the holders that the
// award names, then from anybody.
type taskInputs struct{ n *Node }

func (t taskInputs) Getter(in []protocol.Input) storage.Getter {
	named := namedHolders(in)
	return t.n.exchange.Getter(func(context.Context, protocol.CID) []peer.ID { return t.n.sources(named) })
}

func (t taskInputs) Prefetch(ctx context.Context, blocks []protocol.CID, in []protocol.Input) {
	if err := t.n.exchange.FetchBlocks(ctx, blocks, t.n.sources(namedHolders(in))); err != nil {
		t.n.log.Debug("blocks not prefetched", "error", err)
	}
}

// namedHolders are the holders that inputs name, each once.
func namedHolders(in []protocol.Input) []peer.ID {
	var named []peer.ID
	for _, i := range in {
		for _, id := range i.Holders {
			if !slices.Contains(named, id) && len(named) < protocol.MaxCopies {
				named = append(named, id)
			}
		}
	}
	return named
}

func (t taskInputs) Range(ctx context.Context, file protocol.CID, offset, length int64, sum protocol.Digest, in protocol.Input, w io.Writer) error {
	return t.n.exchange.FetchRange(ctx, file, offset, length, sum, t.n.sources(in.Holders), w)
}

// sources are the nodes to read from: the live ones of those named, in random
// order so that they share the load, then all others.
func (n *Node) sources(named []peer.ID) []peer.ID {
	alive := n.mesh.Alive()
	var out, rest []peer.ID
	for _, id := range alive {
		switch {
		case id == n.id:
		case slices.Contains(named, id):
			out = append(out, id)
		default:
			rest = append(rest, id)
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	return append(out, rest...)
}
