package scheduler

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Plan derives from a manifest and a ledger what is done, what may run next,
// and what the root is. Of several results of a task the lowest CID counts, or
// the one that most agree on where programs are deterministic (see votes.go),
// and a receipt counts only if its inputs are the results that count before
// it: so every node that holds the same receipts derives the same root, in
// whatever order they came.
//
// Of a top (see [Layout]) the lowest result counts, whatever it was made from:
// outside of its column its inputs are not known. What it was made from is done
// with it.
type Plan struct {
	Job      protocol.CID
	Manifest *protocol.Manifest
	Ledger   *Ledger
	Layout   *Layout

	tasks  table[task]
	meters [][]meter   // by stage and column
	lost   map[int]int // tasks whose results are lost, by shard

	disputed   map[protocol.Key]bool // with different results, decided or not
	contested  map[protocol.Key]bool // and not decided
	distrusted map[peer.ID]bool      // outvoted
	ambiguous  bool                  // a task of a provenance job gave different results
}

type task struct {
	result protocol.CID // that counts; zero until the task is done
	size   int64
	lost   bool // its result is held by nobody: a hint, undone by a new receipt
}

// meter says how much of a stage is done in one column.
type meter struct {
	done int // tasks whose results are known
	low  int // every task below is done and at hand
}

// NewPlan returns the plan of a job of which nothing is done.
func NewPlan(job protocol.CID, m *protocol.Manifest) *Plan { return newPlan(job, m, NewLayout(m)) }

func newPlan(job protocol.CID, m *protocol.Manifest, l *Layout) *Plan {
	p := &Plan{
		Job: job, Manifest: m, Ledger: newLedger(job, l), Layout: l, tasks: newTable[task](l), meters: make([][]meter, len(m.Stages)), lost: map[int]int{},
		disputed: map[protocol.Key]bool{}, contested: map[protocol.Key]bool{}, distrusted: map[peer.ID]bool{},
	}
	for s := range p.meters {
		p.meters[s] = make([]meter, l.columns(s))
	}
	return p
}

// AddReceipt adds a checked receipt to the ledger and reports whether it was
// new.
func (p *Plan) AddReceipt(signed protocol.SignedReceipt, open *protocol.Receipt) bool {
	if !p.Ledger.names(open) {
		return false
	}
	k := open.Task
	if _, known := p.Ledger.tasks.at(k).find(signed.Body); known {
		return false
	}
	// One that the ledger has no room for still says that its result is there
	// again.
	p.Find(k)
	if !p.Ledger.AddReceipt(signed, open) {
		return false
	}
	p.derive(k)
	p.weigh(k)
	return true
}

// AddFact adds a checked fact to the ledger and reports whether it was new.
func (p *Plan) AddFact(signed protocol.Signed, open *protocol.Fact) bool {
	return p.Ledger.AddFact(signed, open)
}

// isDone reports whether a result of task k counts.
func (p *Plan) isDone(k protocol.Key) bool { return p.tasks.get(k).result != "" }

func (p *Plan) at(k protocol.Key) *task { return p.tasks.at(k) }

// meter is that of task k's column, and where in it k is.
func (p *Plan) meter(k protocol.Key) (*meter, int) {
	column, at := p.Layout.place(k)
	return &p.meters[k.Stage][column], at
}

// known is how many results of a stage are known here.
func (p *Plan) known(stage int) int {
	n := 0
	for _, m := range p.meters[stage] {
		n += m.done
	}
	return n
}

// derive finds anew which result of task k counts, and does so for all that
// depends on it when that has changed.
func (p *Plan) derive(k protocol.Key) {
	result, size := p.counted(k)
	if result == p.tasks.get(k).result {
		return
	}
	stage := p.Manifest.Stages[k.Stage].Tasks
	whole := p.known(k.Stage) == stage
	t := p.at(k)
	m, at := p.meter(k)
	switch {
	case t.result == "":
		m.done++
	case result == "":
		m.done--
		m.low = min(m.low, at)
	}
	t.result, t.size = result, size
	whole = whole || p.known(k.Stage) == stage
	from, count := dependents(p.Manifest, k)
	if count > 1 && !whole {
		return // all of them read the whole stage, which was not and is not done
	}
	for i := from; i < from+count; i++ {
		p.derive(protocol.Key{Stage: k.Stage + 1, Index: i})
	}
}

// counted returns the result of task k that counts, or the zero CID.
func (p *Plan) counted(k protocol.Key) (result protocol.CID, size int64) {
	delete(p.contested, k)
	receipts := p.Ledger.tasks.get(k).receipts
	if len(receipts) == 0 {
		return "", 0
	}
	counts := func(*protocol.Receipt) bool { return true }
	if !p.Layout.IsTop(k) {
		digest, known := p.InputsDigest(k)
		if !known {
			return "", 0
		}
		counts = func(r *protocol.Receipt) bool { return r.Inputs == digest }
	}
	if p.Manifest.Mode == protocol.Strict {
		return p.elect(k, counts)
	}
	result, size, others := p.lowest(k, counts)
	p.ambiguous = p.ambiguous || others
	return result, size
}

// InputsDigest is the digest of what task k reads; it is not known before the
// tasks that it depends on are done.
func (p *Plan) InputsDigest(k protocol.Key) (protocol.Digest, bool) {
	if k.Stage == 0 {
		return protocol.InputsDigest(k.Index, []protocol.CID{p.Manifest.Splits}), true
	}
	from, count := dependencies(p.Manifest, k)
	inputs := make([]protocol.CID, count)
	for i := range inputs {
		t := p.tasks.get(protocol.Key{Stage: k.Stage - 1, Index: from + i})
		if t.result == "" {
			return protocol.Digest{}, false
		}
		inputs[i] = t.result
	}
	return protocol.InputsDigest(k.Index, inputs), true
}

// Inputs are what task k reads, and who is known to hold each of them. The
// first stage reads the splits, which have no receipt.
func (p *Plan) Inputs(k protocol.Key, more []peer.ID) []protocol.Input {
	if k.Stage == 0 {
		return []protocol.Input{{CID: p.Manifest.Splits}}
	}
	from, count := dependencies(p.Manifest, k)
	inputs := make([]protocol.Input, count)
	for i := range inputs {
		dep := protocol.Key{Stage: k.Stage - 1, Index: from + i}
		t := p.tasks.get(dep)
		inputs[i] = protocol.Input{CID: t.result, Size: t.size, Holders: p.Holders(dep, more)}
	}
	return inputs
}

// maxHolders bounds the holders named for one input.
const maxHolders = 4

// Holders are the nodes that receipts of task k name for the result that
// counts, and the job's stewards where the result rides in its receipt.
func (p *Plan) Holders(k protocol.Key, stewards []peer.ID) []peer.ID {
	var out []peer.ID
	result := p.tasks.get(k).result
	for _, e := range p.Ledger.tasks.get(k).receipts {
		if e.open.Result != result {
			continue
		}
		if !slices.Contains(out, e.open.Worker) {
			out = append(out, e.open.Worker)
		}
		if len(e.signed.Block) > 0 {
			for _, s := range stewards {
				if !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return first(maxHolders, out)
}

// Result is the result of task k that counts, or the zero CID, and its size.
func (p *Plan) Result(k protocol.Key) (protocol.CID, int64) {
	t := p.tasks.get(k)
	return t.result, t.size
}

// Lose notes that nobody holds the result of task k: it runs again if somebody
// still needs it.
func (p *Plan) Lose(k protocol.Key) {
	if t := p.at(k); !t.lost {
		t.lost = true
		p.lost[p.Layout.ShardOf(k)]++
	}
	m, at := p.meter(k)
	m.low = min(m.low, at)
}

// Find notes that somebody holds the result of task k after all.
func (p *Plan) Find(k protocol.Key) {
	if p.tasks.get(k).lost {
		p.at(k).lost = false
		p.lost[p.Layout.ShardOf(k)]--
	}
}

// Root is the job's root, once it is known.
func (p *Plan) Root() protocol.CID {
	return p.tasks.get(protocol.Key{Stage: len(p.Manifest.Stages) - 1}).result
}

// Done counts the tasks that are done in all stages.
func (p *Plan) Done() int {
	n := 0
	for shard := range p.Layout.Shards() {
		n += p.ShardDone(shard)
	}
	return n
}

// ShardDone counts the tasks of a shard that are done.
func (p *Plan) ShardDone(shard int) int {
	n := 0
	for s := range p.Manifest.Stages {
		n += p.stageDone(shard, s)
	}
	return n
}

// StageDone counts the tasks of one stage that are done.
func (p *Plan) StageDone(stage int) int {
	n := 0
	for shard := range p.Layout.Shards() {
		n += p.stageDone(shard, stage)
	}
	return n
}

// stageDone counts the tasks of a shard's part of a stage that are done: those
// whose results are known here, and those that a top was made from.
func (p *Plan) stageDone(shard, stage int) int {
	from, count := p.Layout.Range(shard, stage)
	if count == 0 {
		return 0
	}
	m, _ := p.meter(protocol.Key{Stage: stage, Index: from})
	if shard == 0 || m.done == count {
		return m.done
	}
	n := 0
	for i := from; i < from+count; i++ {
		k := protocol.Key{Stage: stage, Index: i}
		if p.tasks.get(k).result != "" || p.tasks.get(p.Layout.top(k)).result != "" {
			n++
		}
	}
	return n
}

// Ended is how the job ended, by precedence: cancelled, final, failed. It is
// nil while the job goes on.
func (p *Plan) Ended() *protocol.Fact {
	for _, kind := range []protocol.FactKind{protocol.Cancelled, protocol.Final, protocol.Failed} {
		if f := p.Ledger.Fact(kind); f != nil {
			return f
		}
	}
	return nil
}
