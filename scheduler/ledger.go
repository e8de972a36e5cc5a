package scheduler

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Bounds of a ledger: what a hostile member may make others keep.
const (
	maxReceiptsPerTask = 16
	maxFacts           = 1024
)

// Ledger is what is known of a job: a set of receipts by task, and a set of
// facts. It only grows; adding in any order, and twice, gives the same ledger
// (rules R6 and R8: assignments never enter it, and results are read from the
// set).
type Ledger struct {
	job   protocol.CID
	tasks [][]record // by stage and index
	facts map[protocol.Digest]statement
}

type record struct{ receipts []entry }

type entry struct {
	signed protocol.SignedReceipt
	open   *protocol.Receipt
}

type statement struct {
	signed protocol.Signed
	open   *protocol.Fact
}

// NewLedger returns an empty ledger for a job.
func NewLedger(job protocol.CID, m *protocol.Manifest) *Ledger {
	l := &Ledger{job: job, facts: map[protocol.Digest]statement{}}
	for _, s := range m.Stages {
		l.tasks = append(l.tasks, make([]record, s.Tasks))
	}
	return l
}

// AddReceipt adds a checked receipt and reports whether it is new. One that
// names no task of the job is not added. Of too many for one task the lowest
// stay, those with the lowest results among equal inputs: which ones must not
// depend on the order in which they came.
func (l *Ledger) AddReceipt(signed protocol.SignedReceipt, open *protocol.Receipt) bool {
	k := open.Task
	if !l.names(open) {
		return false
	}
	rec := &l.tasks[k.Stage][k.Index]
	at, found := rec.find(signed.Body)
	if found || at == maxReceiptsPerTask {
		return false
	}
	rec.receipts = first(maxReceiptsPerTask, slices.Insert(rec.receipts, at, entry{signed, open}))
	return true
}

// names reports whether a receipt is of a task of this job.
func (l *Ledger) names(r *protocol.Receipt) bool {
	return r.Job == l.job && r.Task.Stage < len(l.tasks) && r.Task.Index < len(l.tasks[r.Task.Stage])
}

func (r *record) find(body []byte) (at int, found bool) {
	return slices.BinarySearchFunc(r.receipts, body, func(e entry, body []byte) int {
		return bytes.Compare(e.signed.Body, body)
	})
}

// AddFact adds a checked fact and reports whether it is new.
func (l *Ledger) AddFact(signed protocol.Signed, open *protocol.Fact) bool {
	id := factID(signed)
	if _, known := l.facts[id]; known || open.Job != l.job || len(l.facts) >= maxFacts && open.Kind == protocol.FailedRun {
		return false
	}
	l.facts[id] = statement{signed, open}
	return true
}

func factID(s protocol.Signed) protocol.Digest { return sha256.Sum256(s.Body) }

// sortedFacts walks facts in an order that does not depend on their arrival.
func (l *Ledger) sortedFacts() []statement {
	ids := make([]protocol.Digest, 0, len(l.facts))
	for id := range l.facts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b protocol.Digest) int { return bytes.Compare(a[:], b[:]) })
	out := make([]statement, len(ids))
	for i, id := range ids {
		out[i] = l.facts[id]
	}
	return out
}

// Fact returns the fact of that kind with the lowest root, then the earliest.
// It is asked for at every tick, so it does not sort.
func (l *Ledger) Fact(kind protocol.FactKind) *protocol.Fact {
	var best *protocol.Fact
	var bestID protocol.Digest
	for id, s := range l.facts {
		f := s.open
		if f.Kind != kind {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(f.Root, best.Root), f.At.Compare(best.At), bytes.Compare(id[:], bestID[:])) < 0 {
			best, bestID = f, id
		}
	}
	return best
}

// Stated are the facts of that kind, signed, in a fixed order.
func (l *Ledger) Stated(kind protocol.FactKind) []protocol.Signed {
	var out []protocol.Signed
	for _, s := range l.sortedFacts() {
		if s.open.Kind == kind {
			out = append(out, s.signed)
		}
	}
	return out
}

// Failures are the failed runs of task k, in a fixed order.
func (l *Ledger) Failures(k protocol.Key) []*protocol.Fact {
	var out []*protocol.Fact
	for _, s := range l.sortedFacts() {
		if s.open.Kind == protocol.FailedRun && s.open.Run.Task == k {
			out = append(out, s.open)
		}
	}
	return out
}

// Announce says what the ledger holds, for another to compare.
func (l *Ledger) Announce(reply bool) *protocol.Announce {
	a := &protocol.Announce{Job: l.job, Have: make([][]byte, len(l.tasks)), Reply: reply}
	for s, tasks := range l.tasks {
		bits := make([]byte, (len(tasks)+7)/8)
		for i := range tasks {
			if len(tasks[i].receipts) > 0 {
				bits[i/8] |= 1 << (i % 8)
			}
		}
		a.Have[s] = bits
	}
	for _, s := range l.sortedFacts() {
		a.Facts = append(a.Facts, factID(s.signed))
	}
	return a
}

// maxCatchUp bounds how much one announcement is answered with; the next one
// brings more.
const maxCatchUp = 64 * protocol.MaxReceiptBatch

// LackedBy returns what this ledger holds and the announcer does not, as
// messages without a number: they are not acknowledged.
func (l *Ledger) LackedBy(a *protocol.Announce) []*protocol.Done {
	var receipts []protocol.SignedReceipt
	for s, tasks := range l.tasks {
		for i := range tasks {
			has := s < len(a.Have) && i/8 < len(a.Have[s]) && a.Have[s][i/8]&(1<<(i%8)) != 0
			if !has && len(tasks[i].receipts) > 0 && len(receipts) < maxCatchUp {
				receipts = append(receipts, tasks[i].receipts[0].signed)
			}
		}
	}
	has := make(map[protocol.Digest]bool, len(a.Facts))
	for _, id := range a.Facts {
		has[id] = true
	}
	var facts []protocol.Signed
	for _, s := range l.sortedFacts() {
		if !has[factID(s.signed)] {
			facts = append(facts, s.signed)
		}
	}
	return Batches(l.job, receipts, facts)
}

// Lacks reports whether the announcer holds something that this ledger does
// not.
func (l *Ledger) Lacks(a *protocol.Announce) bool {
	for s, bits := range a.Have {
		for i := range bits {
			for b := range 8 {
				k := i*8 + b
				if bits[i]&(1<<b) != 0 && s < len(l.tasks) && k < len(l.tasks[s]) && len(l.tasks[s][k].receipts) == 0 {
					return true
				}
			}
		}
	}
	return slices.ContainsFunc(a.Facts, func(id protocol.Digest) bool { _, known := l.facts[id]; return !known })
}

// Batches splits receipts and facts into messages of bounded size.
func Batches(job protocol.CID, receipts []protocol.SignedReceipt, facts []protocol.Signed) []*protocol.Done {
	var out []*protocol.Done
	for len(receipts) > 0 || len(facts) > 0 {
		d := &protocol.Done{Job: job, Receipts: first(protocol.MaxReceiptBatch, receipts), Facts: first(protocol.MaxReceiptBatch, facts)}
		receipts, facts = receipts[len(d.Receipts):], facts[len(d.Facts):]
		out = append(out, d)
	}
	return out
}

// Runs lists every run of a task that ended, by task.
func (l *Ledger) Runs(m *protocol.Manifest) []protocol.TaskRun {
	var out []protocol.TaskRun
	for s, tasks := range l.tasks {
		for _, t := range tasks {
			for _, e := range t.receipts {
				out = append(out, protocol.TaskRun{Task: e.open.Task, Stage: m.Stages[s].Name, Worker: e.open.Worker, Took: e.open.Took, Log: e.open.Log})
			}
		}
	}
	for _, s := range l.sortedFacts() {
		if r := s.open.Run; r != nil && r.Task.Stage < len(m.Stages) {
			out = append(out, protocol.TaskRun{Task: r.Task, Stage: m.Stages[r.Task.Stage].Name, Worker: s.open.By, Failed: r.Text, Log: r.Log, Tail: r.Tail})
		}
	}
	slices.SortStableFunc(out, func(a, b protocol.TaskRun) int { return a.Task.Compare(b.Task) })
	return out
}

// workers counts, by node, the tasks whose counted result it was the first to
// give, and all runs that ended.
func (l *Ledger) workers() (done map[peer.ID]int, executions int) {
	done = map[peer.ID]int{}
	for _, tasks := range l.tasks {
		for _, t := range tasks {
			executions += len(t.receipts)
			if len(t.receipts) > 0 {
				done[t.receipts[0].open.Worker]++
			}
		}
	}
	for _, s := range l.facts {
		if s.open.Kind == protocol.FailedRun {
			executions++
		}
	}
	return done, executions
}
