package node

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/meshnode/meshnode/protocol"
)

// What a node keeps of a job beside its blocks: its receipts and facts, each
// under the job's ID. A job is this node's business once it has a fact of it.
const ledgerPrefix = "ledger/"

func ledgerKey(job protocol.CID, kind string, body []byte) string {
	return ledgerPrefix + job.String() + "/" + kind + "/" + protocol.NewCID(protocol.CodecRaw, body).String()
}

// receiptKind is the kind of a result's receipts: they are found by the result.
func receiptKind(result protocol.CID) string { return "receipt/" + result.String() }

func (n *Node) keepReceipt(job protocol.CID, r openReceipt) (kept bool) {
	return n.keep(ledgerKey(job, receiptKind(r.open.Result), r.signed.Body), protocol.Encode(r.signed))
}

// errFound ends a listing.
var errFound = errors.New("found")

// hasReceipt reports whether a receipt is kept that says what a result of a job
// is.
func (n *Node) hasReceipt(job, result protocol.CID) bool {
	prefix := ledgerPrefix + job.String() + "/" + receiptKind(result) + "/"
	return errors.Is(n.store.ListMeta(prefix, func(string, []byte) error { return errFound }), errFound)
}

func (n *Node) keepFact(job protocol.CID, s protocol.Signed) (kept bool) {
	return n.keep(ledgerKey(job, "fact", s.Body), protocol.Encode(s))
}

// remembers reports whether the disk has it from somebody that a job is
// committed, or cancelled. What was refused when it came is written now, if
// the disk takes it.
func (n *Node) remembers(j *job, kind protocol.FactKind) bool {
	stated := j.plan.Ledger.Stated(kind)
	for _, s := range stated {
		if _, err := n.store.GetMeta(ledgerKey(j.plan.Job, "fact", s.Body)); err == nil {
			return true
		}
	}
	return len(stated) > 0 && n.keepFact(j.plan.Job, stated[0])
}

// errNotKept answers whoever asks to be told that the disk has something.
func errNotKept(what string, job protocol.CID) error {
	return fmt.Errorf("%s of job %s could not be written to this node's disk: free some space there, or ask another node", what, job)
}

func (n *Node) keep(key string, value []byte) (kept bool) {
	err := n.store.PutMeta(key, value)
	if err != nil {
		n.log.Error("ledger not kept on disk", "key", key, "error", err)
	}
	return err == nil
}

// keptLedger reads what the disk has of a job's ledger. What does not check is
// left out: it cannot have come from here.
func (n *Node) keptLedger(ctx context.Context, job protocol.CID) opened {
	var d protocol.Done
	d.Job = job
	_ = n.store.ListMeta(ledgerPrefix+job.String()+"/", func(key string, value []byte) error {
		if strings.Contains(key, "/receipt/") {
			var s protocol.SignedReceipt
			if protocol.Decode(value, &s) == nil {
				d.Receipts = append(d.Receipts, s)
			}
			return nil
		}
		var s protocol.Signed
		if protocol.Decode(value, &s) == nil {
			d.Facts = append(d.Facts, s)
		}
		return nil
	})
	o, err := n.check(&d)
	if err != nil {
		n.log.Error("ledger on disk does not check", "job", job, "error", err)
		o = n.checkEach(&d)
	}
	if err := n.keepResults(ctx, o); err != nil {
		n.log.Error("results on disk not kept as blocks", "job", job, "error", err)
	}
	return o
}

// checkEach is check that leaves out what is bad, one by one: it costs a
// signature for each.
func (n *Node) checkEach(d *protocol.Done) opened {
	var out opened
	for _, r := range d.Receipts {
		if o, err := n.check(&protocol.Done{Job: d.Job, Receipts: []protocol.SignedReceipt{r}}); err == nil {
			out.receipts = append(out.receipts, o.receipts...)
		}
	}
	for _, f := range d.Facts {
		if o, err := n.check(&protocol.Done{Job: d.Job, Facts: []protocol.Signed{f}}); err == nil {
			out.facts = append(out.facts, o.facts...)
		}
	}
	return out
}

// resume takes up what an earlier start of this node left, once it is back in
// its mesh: alone it would take itself for every job's steward.
func (n *Node) resume() {
	select {
	case <-n.mesh.Ready():
		n.askClocks(n.ctx)
		n.loadJobs(n.ctx)
	case <-n.ctx.Done():
	}
}

// loadJobs makes the jobs on this node's disk known again after a restart.
func (n *Node) loadJobs(ctx context.Context) {
	for _, id := range n.ledgersOnDisk() {
		doc, err := n.store.Get(ctx, id)
		if err != nil {
			continue // its manifest was never kept here
		}
		if err := n.learn(ctx, id, doc); err != nil {
			n.log.Info("job on disk not taken up", "job", id, "error", err)
		}
	}
}
