package scheduler

import (
	"bytes"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// maxReceiptsPerTask bounds what a hostile member may make others keep.
const maxReceiptsPerTask = 16

// Ledger is what is known of a job: a set of receipts by task, and a set of
// facts. It only grows; adding in any order, and twice, gives the same ledger
// (rules R6 and R8: assignments never enter it, and results are read from the
// set). It holds what this node has heard of, whatever shard it belongs to.
type Ledger struct {
	layout *Layout
	job    protocol.CID
	tasks  table[record]
	facts  facts
}

type record struct{ receipts []entry }

type entry struct {
	signed protocol.SignedReceipt
	open   *protocol.Receipt
}

// newLedger returns an empty ledger for a job.
func newLedger(job protocol.CID, l *Layout) *Ledger {
	return &Ledger{layout: l, job: job, tasks: newTable[record](l), facts: newFacts(l)}
}

// AddReceipt adds a checked receipt and reports whether it is new. One that
// names no task of the job is not added. Of too many for one task the lowest
// stay, and of each worker few: which ones must not depend on the order in which
// they came.
func (l *Ledger) AddReceipt(signed protocol.SignedReceipt, open *protocol.Receipt) bool {
	k := open.Task
	if !l.names(open) {
		return false
	}
	rec := l.tasks.at(k)
	at, found := rec.find(signed.Body)
	if found || at == maxReceiptsPerTask {
		return false
	}
	rec.receipts = slices.Insert(rec.receipts, at, entry{signed, open})
	added := rec.limit(open.Worker)
	rec.receipts = first(maxReceiptsPerTask, rec.receipts)
	return added != at
}

// limit drops what is too much of one worker, and says from which place; -1 when
// nothing was.
func (r *record) limit(worker peer.ID) int {
	n := 0
	for i, e := range r.receipts {
		if e.open.Worker != worker {
			continue
		}
		if n++; n > maxReceiptsPerWorker {
			r.receipts = slices.Delete(r.receipts, i, i+1)
			return i
		}
	}
	return -1
}

// names reports whether a receipt is of a task of this job.
func (l *Ledger) names(r *protocol.Receipt) bool {
	return r.Job == l.job && l.layout.Names(r.Task)
}

func (r *record) find(body []byte) (at int, found bool) {
	return slices.BinarySearchFunc(r.receipts, body, func(e entry, body []byte) int {
		return bytes.Compare(e.signed.Body, body)
	})
}

// AddFact adds a checked fact and reports whether it is new.
func (l *Ledger) AddFact(signed protocol.Signed, open *protocol.Fact) bool {
	return open.Job == l.job && l.facts.add(signed, open)
}

// Fact returns the fact of that kind with the lowest root, then the earliest.
func (l *Ledger) Fact(kind protocol.FactKind) *protocol.Fact {
	if list := l.facts.job[kind]; len(list) > 0 {
		return list[0].open
	}
	return nil
}

// Stated are the facts of that kind about the job, signed, in a fixed order.
func (l *Ledger) Stated(kind protocol.FactKind) []protocol.Signed {
	var out []protocol.Signed
	for _, s := range l.facts.job[kind] {
		out = append(out, s.signed)
	}
	return out
}

// Failures are the failed runs of task k, in a fixed order.
func (l *Ledger) Failures(k protocol.Key) []*protocol.Fact {
	var out []*protocol.Fact
	for _, s := range l.facts.runs[k] {
		out = append(out, s.open)
	}
	return out
}

// Announce says what the ledger holds of a shard, for another to compare: want
// asks for the receipts that are lacking here, reply for the other's own
// announcement.
func (l *Ledger) Announce(shard int, want, reply bool) *protocol.Announce {
	a := &protocol.Announce{Job: l.job, Shard: shard, Have: make([][]byte, len(l.layout.tasks)), Want: want, Reply: reply}
	for s := range a.Have {
		_, count := l.layout.View(shard, s)
		a.Have[s] = make([]byte, (count+7)/8)
	}
	l.tasks.each(shard, func(k protocol.Key, r *record) {
		if len(r.receipts) > 0 {
			from, _ := l.layout.View(shard, k.Stage)
			i := k.Index - from
			a.Have[k.Stage][i/8] |= 1 << (i % 8)
		}
	})
	for _, s := range l.facts.of(shard) {
		a.Facts = append(a.Facts, s.id)
	}
	return a
}

// holds reports whether the announcer has a receipt of task k.
func (l *Ledger) holds(a *protocol.Announce, k protocol.Key) bool {
	from, _ := l.layout.View(a.Shard, k.Stage)
	i := k.Index - from
	return k.Stage < len(a.Have) && i/8 < len(a.Have[k.Stage]) && a.Have[k.Stage][i/8]&(1<<(i%8)) != 0
}

// maxCatchUp bounds how much one announcement is answered with; the next one
// brings more.
const maxCatchUp = 64 * protocol.MaxReceiptBatch

// LackedBy returns what this ledger holds of the shard and the announcer wants
// and does not have, as messages without a number: they are not acknowledged.
func (l *Ledger) LackedBy(a *protocol.Announce) []*protocol.Done {
	var receipts []protocol.SignedReceipt
	l.tasks.each(a.Shard, func(k protocol.Key, r *record) {
		if !a.Want || len(r.receipts) == 0 || len(receipts) >= maxCatchUp {
			return
		}
		if r.disputed() { // one of them is not enough to decide by
			for _, e := range r.receipts {
				receipts = append(receipts, e.signed)
			}
		} else if !l.holds(a, k) {
			receipts = append(receipts, r.receipts[0].signed)
		}
	})
	has := make(map[protocol.Digest]bool, len(a.Facts))
	for _, id := range a.Facts {
		has[id] = true
	}
	var facts []protocol.Signed
	for _, s := range l.facts.of(a.Shard) {
		if !has[s.id] {
			facts = append(facts, s.signed)
		}
	}
	return Batches(l.job, a.Shard, receipts, facts)
}

// Lacks reports whether the announcer holds something of the shard that this
// ledger does not.
func (l *Ledger) Lacks(a *protocol.Announce) bool {
	for s, bits := range first(len(l.layout.tasks), a.Have) {
		from, count := l.layout.View(a.Shard, s)
		for i := range min(count, 8*len(bits)) {
			k := protocol.Key{Stage: s, Index: from + i}
			if bits[i/8]&(1<<(i%8)) != 0 && len(l.tasks.get(k).receipts) == 0 {
				return true
			}
		}
	}
	has := l.facts.has(a.Shard)
	return slices.ContainsFunc(a.Facts, func(id protocol.Digest) bool { return !has[id] })
}

// Batches splits receipts and facts into messages of bounded size for a shard's
// stewards.
func Batches(job protocol.CID, shard int, receipts []protocol.SignedReceipt, facts []protocol.Signed) []*protocol.Done {
	var out []*protocol.Done
	for len(receipts) > 0 || len(facts) > 0 {
		d := &protocol.Done{Job: job, Shard: shard, Receipts: first(protocol.MaxReceiptBatch, receipts), Facts: first(protocol.MaxReceiptBatch, facts)}
		receipts, facts = receipts[len(d.Receipts):], facts[len(d.Facts):]
		out = append(out, d)
	}
	return out
}

// Runs lists every run of a shard's tasks that ended, by task.
func (l *Ledger) Runs(m *protocol.Manifest, shard int) []protocol.TaskRun {
	var out []protocol.TaskRun
	l.tasks.each(shard, func(k protocol.Key, t *record) {
		if l.layout.ShardOf(k) != shard {
			return
		}
		for _, e := range t.receipts {
			out = append(out, protocol.TaskRun{Task: k, Stage: m.Stages[k.Stage].Name, Worker: e.open.Worker, Took: e.open.Took, Log: e.open.Log})
		}
	})
	for _, k := range l.facts.failedTasks(shard) {
		for _, f := range l.Failures(k) {
			out = append(out, protocol.TaskRun{Task: k, Stage: m.Stages[k.Stage].Name, Worker: f.By, Failed: f.Run.Text, Log: f.Run.Log, Tail: f.Run.Tail})
		}
	}
	slices.SortStableFunc(out, func(a, b protocol.TaskRun) int { return a.Task.Compare(b.Task) })
	return out
}

// workers counts, by node, the tasks whose counted result it was the first to
// give, as far as this node knows.
func (l *Ledger) workers() map[peer.ID]int {
	done := map[peer.ID]int{}
	l.everything(func(_ protocol.Key, t *record) {
		if len(t.receipts) > 0 {
			done[t.receipts[0].open.Worker]++
		}
	})
	return done
}

// everything walks the tasks of all shards, each once.
func (l *Ledger) everything(f func(protocol.Key, *record)) {
	for s, chunks := range l.tasks.chunks {
		for column, chunk := range chunks {
			for i := range chunk {
				k := protocol.Key{Stage: s, Index: i}
				if l.layout.inColumn(s) {
					k.Index += column * l.layout.width[s]
				}
				f(k, &chunk[i])
			}
		}
	}
}

// executions counts the runs of a shard's tasks that ended.
func (l *Ledger) executions(shard int) int {
	n := l.facts.failed[shard]
	l.tasks.each(shard, func(k protocol.Key, t *record) {
		if l.layout.ShardOf(k) == shard {
			n += len(t.receipts)
		}
	})
	return n
}

// Vouched are those of results of which the ledger has a receipt, and whether
// the result rides in one of them.
func (l *Ledger) Vouched(results []protocol.CID) map[protocol.CID]bool {
	asked := make(map[protocol.CID]bool, len(results))
	for _, c := range results {
		asked[c] = true
	}
	out := make(map[protocol.CID]bool, len(results))
	l.everything(func(_ protocol.Key, r *record) {
		for i := range r.receipts {
			if e := &r.receipts[i]; asked[e.open.Result] {
				out[e.open.Result] = out[e.open.Result] || len(e.signed.Block) > 0
			}
		}
	})
	return out
}
