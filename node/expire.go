package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

const (
	// sweepEvery is how often a node looks for jobs that it has to forget: they
	// are kept for days, and forgotten ten minutes after that.
	sweepEvery = time.Minute
	// maxStrays bounds the ledgers of unknown jobs that one sweep asks others
	// about.
	maxStrays = 16
	// maxClocksAsked bounds the members that are asked for the time at once: a
	// sample of that size shows what most of a mesh thinks.
	maxClocksAsked = 64
)

// errExpired is wrapped by the refusal of whatever is said of a job whose time
// is over (rule R7).
var errExpired = errors.New("the job has expired")

// absolute is the time to go by where it is absolute: this node's, unless its
// peers agree that its clock is far off.
func (n *Node) absolute() time.Time { return time.Now().Add(time.Duration(n.clockOffset.Load())) }

// heardClock notes what a peer says of the time.
func (l *loop) heardClock(now time.Time, from peer.ID, claimed time.Time) {
	if from == l.n.id {
		return
	}
	for _, e := range l.clock.Heard(now, from, claimed) {
		if note, ok := e.(scheduler.Noted); ok {
			l.n.log.Warn(note.What, "peer", note.Peer, "why", note.Why)
		}
	}
	l.n.clockOffset.Store(int64(l.clock.Offset()))
}

// askClocks asks other members what time it is, before anything is judged by
// it.
func (n *Node) askClocks(ctx context.Context) {
	ask := n.sources(nil) // in random order
	ask = ask[:min(len(ask), maxClocksAsked)]
	n.loop.post(ctx, func(time.Time) { n.loop.clock.SetPeers(len(ask)) })
	var wg sync.WaitGroup
	for _, id := range ask {
		wg.Go(func() {
			q := &protocol.Request{Held: &protocol.Held{Roots: []protocol.CID{emptyBlock}}}
			if a, err := n.caller.call(ctx, id, q, callWait); err == nil {
				n.loop.do(ctx, func(now time.Time) { n.loop.heardClock(now, id, a.Clock) })
			}
		})
	}
	wg.Wait()
}

// unexpired fails with errExpired for a job of which nothing is accepted any
// more.
func (n *Node) unexpired(id protocol.CID, m *protocol.Manifest) error {
	if scheduler.LifeOf(m, n.absolute()) >= scheduler.Expired {
		return because(RefusedExpired, fmt.Errorf("%w: job %s, at %s", errExpired, id, m.KeepUntil.Format(time.RFC3339)))
	}
	return nil
}

// maxAhead is how far a submitter's clock may be ahead.
const maxAhead = 24 * time.Hour

// bounded fails for a job that nodes would have to remember for longer than any
// may be kept: one that says that it was created years from now.
func (n *Node) bounded(id protocol.CID, m *protocol.Manifest) error {
	if m.KeepUntil.Sub(n.absolute()) > protocol.MaxLife+maxAhead {
		return because(RefusedBounds, fmt.Errorf("job %s is to be kept until %s, longer than any may be: look at the clock of the node that submitted it", id, m.KeepUntil.Format(time.RFC3339)))
	}
	return nil
}

// sweep forgets jobs, until the node ends.
func (n *Node) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			n.askClocks(n.ctx)
			n.sweepAt(n.ctx, n.absolute())
		case <-n.ctx.Done():
			return
		}
	}
}

// sweepAt forgets the jobs that nobody is to remember at that time, in memory
// and on disk, and ends what still runs of those that may not run any more.
// Their blocks stay: there is no collection yet.
func (n *Node) sweepAt(ctx context.Context, at time.Time) {
	n.loop.do(ctx, func(now time.Time) {
		for _, id := range n.loop.jobIDs() {
			switch life := scheduler.LifeOf(n.loop.jobs[id].plan.Manifest, at); {
			case life == scheduler.Forgotten:
				n.loop.forget(now, id)
			case life > scheduler.Running:
				n.loop.halt(now, id)
			}
		}
	})
	strays := 0
	for _, id := range n.ledgersOnDisk() {
		doc, err := n.store.Get(ctx, id)
		if err != nil && strays < maxStrays { // receipts that came with copies
			strays++
			doc, err = n.fetchManifest(ctx, id, n.sources(nil))
		}
		if err != nil {
			continue // its time is not known
		}
		if m, err := protocol.OpenManifest(doc); err == nil && scheduler.LifeOf(m, at) == scheduler.Forgotten {
			n.dropLedger(id)
		}
	}
}

// halt ends what runs here of a job.
func (l *loop) halt(now time.Time, id protocol.CID) { l.perform(now, l.worker.Drop(id)) }

// forget removes a job from memory.
func (l *loop) forget(now time.Time, id protocol.CID) {
	l.halt(now, id)
	delete(l.jobs, id)
	l.n.known.Delete(id)
	l.n.log.Info("job forgotten, its time is over", "job", id)
}

// ledgersOnDisk are the jobs of which the disk has anything.
func (n *Node) ledgersOnDisk() []protocol.CID {
	var out []protocol.CID
	_ = n.store.ListMeta(ledgerPrefix, func(key string, _ []byte) error {
		text, _, _ := strings.Cut(strings.TrimPrefix(key, ledgerPrefix), "/")
		if id, err := protocol.ParseCID(text); err == nil && (len(out) == 0 || out[len(out)-1] != id) {
			out = append(out, id) // keys come in order: a job's are together
		}
		return nil
	})
	return out
}

// dropLedger removes what the disk has of a job's ledger.
func (n *Node) dropLedger(id protocol.CID) {
	var keys []string
	_ = n.store.ListMeta(ledgerPrefix+id.String()+"/", func(key string, _ []byte) error {
		keys = append(keys, key)
		return nil
	})
	for _, key := range keys {
		if err := n.store.DeleteMeta(key); err != nil {
			n.log.Error("ledger of an expired job not removed", "job", id, "error", err)
			return
		}
	}
	n.log.Info("ledger of an expired job removed", "job", id, "entries", len(keys))
}
