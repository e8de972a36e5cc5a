package scheduler

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Plan derives from a manifest and a ledger what is done, what may run next,
// and what the root is. Of several results of a task the lowest CID counts,
// and a receipt counts only if its inputs are the results that count before
// it: so every node that holds the same receipts derives the same root, in
// whatever order they came.
type Plan struct {
	Job      protocol.CID
	Manifest *protocol.Manifest
	Ledger   *Ledger

	tasks    [][]task // by stage and index
	done     []int    // by stage
	low      []int    // by stage: every task below is done and at hand
	conflict *protocol.Key
}

type task struct {
	result protocol.CID // that counts; zero until the task is done
	size   int64
	lost   bool // its result is held by nobody: a hint, undone by a new receipt
}

// NewPlan returns the plan of a job of which nothing is done.
func NewPlan(job protocol.CID, m *protocol.Manifest) *Plan {
	p := &Plan{Job: job, Manifest: m, Ledger: NewLedger(job, m), done: make([]int, len(m.Stages)), low: make([]int, len(m.Stages))}
	for _, s := range m.Stages {
		p.tasks = append(p.tasks, make([]task, s.Tasks))
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
	if _, known := p.Ledger.tasks[k.Stage][k.Index].find(signed.Body); known {
		return false
	}
	// One that the ledger has no room for still says that its result is there
	// again.
	p.at(k).lost = false
	if !p.Ledger.AddReceipt(signed, open) {
		return false
	}
	p.derive(k)
	return true
}

// AddFact adds a checked fact to the ledger and reports whether it was new.
func (p *Plan) AddFact(signed protocol.Signed, open *protocol.Fact) bool {
	return p.Ledger.AddFact(signed, open)
}

// isDone reports whether a result of task k counts.
func (p *Plan) isDone(k protocol.Key) bool { return p.at(k).result != "" }

func (p *Plan) at(k protocol.Key) *task { return &p.tasks[k.Stage][k.Index] }

// derive finds anew which result of task k counts, and does so for all that
// depends on it when that has changed.
func (p *Plan) derive(k protocol.Key) {
	t := p.at(k)
	result, size := p.counted(k)
	if result == t.result {
		return
	}
	whole := p.done[k.Stage] == len(p.tasks[k.Stage])
	switch {
	case t.result == "":
		p.done[k.Stage]++
	case result == "":
		p.done[k.Stage]--
		p.low[k.Stage] = min(p.low[k.Stage], k.Index)
	}
	t.result, t.size = result, size
	whole = whole || p.done[k.Stage] == len(p.tasks[k.Stage])
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
	receipts := p.Ledger.tasks[k.Stage][k.Index].receipts
	if len(receipts) == 0 {
		return "", 0
	}
	digest, known := p.InputsDigest(k)
	if !known {
		return "", 0
	}
	for _, e := range receipts {
		if e.open.Inputs != digest {
			continue
		}
		if result != "" && e.open.Result != result && p.Manifest.Mode == protocol.Strict {
			p.conflict = &k
		}
		if result == "" || e.open.Result < result {
			result, size = e.open.Result, e.open.Size
		}
	}
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
		t := p.tasks[k.Stage-1][from+i]
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
		t := p.at(dep)
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
	for _, e := range p.Ledger.tasks[k.Stage][k.Index].receipts {
		if e.open.Result != p.at(k).result {
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
func (p *Plan) Result(k protocol.Key) (protocol.CID, int64) { return p.at(k).result, p.at(k).size }

// Lose notes that nobody holds the result of task k: it runs again if somebody
// still needs it.
func (p *Plan) Lose(k protocol.Key) {
	p.at(k).lost = true
	p.low[k.Stage] = min(p.low[k.Stage], k.Index)
}

// needed reports whether task k has to run: it never did, or its result is
// lost and either part of the root, whose copies are yet to be made, or read by
// something that is not done.
func (p *Plan) needed(k protocol.Key) bool {
	t := p.at(k)
	if t.result == "" {
		return true
	}
	if !t.lost {
		return false
	}
	if k.Stage >= DataStage(p.Manifest) {
		return true
	}
	from, count := dependents(p.Manifest, k)
	for i := from; i < from+count; i++ {
		if p.needed(protocol.Key{Stage: k.Stage + 1, Index: i}) {
			return true
		}
	}
	return false
}

// complete reports whether nothing has to run any more: the root is known, and
// none of its parts is known to be lost.
func (p *Plan) complete() bool {
	return p.Root().Defined() && len(p.Ready(1, func(protocol.Key) bool { return false })) == 0
}

// ready reports whether all that task k reads is done and at hand.
func (p *Plan) ready(k protocol.Key) bool {
	from, count := dependencies(p.Manifest, k)
	if count > protocol.ConcatWidth || k.Stage > 0 && count == len(p.tasks[k.Stage-1]) {
		if p.done[k.Stage-1] < len(p.tasks[k.Stage-1]) {
			return false // cheaper than to look at each
		}
	}
	for i := from; i < from+count; i++ {
		if t := p.tasks[k.Stage-1][i]; t.result == "" || t.lost {
			return false
		}
	}
	return true
}

// Ready returns up to limit tasks of one stage that have to run, may run, and
// are not to be skipped; later stages first, since they free what earlier ones
// made.
func (p *Plan) Ready(limit int, skip func(protocol.Key) bool) []protocol.Key {
	for s := len(p.tasks) - 1; s >= 0; s-- {
		if s > 0 && p.done[s-1] == 0 {
			continue
		}
		var out []protocol.Key
		for i := p.low[s]; i < len(p.tasks[s]) && len(out) < limit; i++ {
			k := protocol.Key{Stage: s, Index: i}
			if t := p.at(k); t.result != "" && !t.lost {
				if i == p.low[s] {
					p.low[s]++
				}
				continue
			}
			if !skip(k) && p.needed(k) && p.ready(k) {
				out = append(out, k)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// Root is the job's root, once it is known.
func (p *Plan) Root() protocol.CID {
	last := len(p.tasks) - 1
	return p.tasks[last][0].result
}

// Conflict is a task of a strict job with two different results: proof that
// something is broken.
func (p *Plan) Conflict() (protocol.Key, bool) {
	if p.conflict == nil {
		return protocol.Key{}, false
	}
	return *p.conflict, true
}

// Done counts the tasks that are done in all stages.
func (p *Plan) Done() int {
	n := 0
	for _, d := range p.done {
		n += d
	}
	return n
}

// StageDone counts the tasks of one stage that are done.
func (p *Plan) StageDone(stage int) int { return p.done[stage] }

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
