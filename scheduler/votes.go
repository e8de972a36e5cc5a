package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Two results of one task of a strict job prove that somebody is broken. Both
// are kept, the task runs on more nodes, and what more than half of those that
// ran it agree on counts. Who was outvoted is distrusted: nothing that it gave
// to this job counts any more.
//
// All of this is read from the set of receipts, so every node that holds the
// same ones decides alike.

// maxReceiptsPerWorker bounds the receipts that are kept of one worker for one
// task, of which a broken one could make any number.
const maxReceiptsPerWorker = 2

// ballot is who gave which result of a task from the same inputs.
type ballot struct {
	voters map[peer.ID][]protocol.CID
	sizes  map[protocol.CID]int64
}

// ballots are those about task k, by what was read.
func (r *record) ballots() map[protocol.Digest]*ballot {
	out := map[protocol.Digest]*ballot{}
	for _, e := range r.receipts {
		b := out[e.open.Inputs]
		if b == nil {
			b = &ballot{voters: map[peer.ID][]protocol.CID{}, sizes: map[protocol.CID]int64{}}
			out[e.open.Inputs] = b
		}
		if !slices.Contains(b.voters[e.open.Worker], e.open.Result) {
			b.voters[e.open.Worker] = append(b.voters[e.open.Worker], e.open.Result)
		}
		b.sizes[e.open.Result] = e.open.Size
	}
	return out
}

// winner is the only result, or the one that more than half of the voters gave;
// the zero CID while there is none. Who gave two results has voted for neither.
func (b *ballot) winner() protocol.CID {
	votes := map[protocol.CID]int{}
	for _, results := range b.voters {
		if len(results) == 1 {
			votes[results[0]]++
		}
	}
	for result, n := range votes {
		if 2*n > len(b.voters) {
			return result
		}
	}
	return ""
}

// losers are those that gave another result than the one that won.
func (b *ballot) losers() []peer.ID {
	winner := b.winner()
	if winner == "" {
		return nil
	}
	var out []peer.ID
	for id, results := range b.voters {
		if len(results) > 1 || results[0] != winner {
			out = append(out, id)
		}
	}
	return out
}

// disputed reports whether results of a task differ.
func (r *record) disputed() bool {
	for i := range r.receipts {
		if a, b := r.receipts[0].open, r.receipts[i].open; a.Result != b.Result {
			return true
		}
	}
	return false
}

// lowest is the lowest of the results among receipts that count, which all
// read the same unless the task is a top, and whether there are others.
func (p *Plan) lowest(k protocol.Key, counts func(*protocol.Receipt) bool) (result protocol.CID, size int64, others bool) {
	for _, e := range p.Ledger.tasks.get(k).receipts {
		if !counts(e.open) || !p.trusts(e.open) {
			continue
		}
		others = others || result != "" && e.open.Result != result
		if result == "" || e.open.Result < result {
			result, size = e.open.Result, e.open.Size
		}
	}
	return result, size, others
}

// elect is the result of a strict task that counts: all that are trusted agree,
// or most do.
func (p *Plan) elect(k protocol.Key, counts func(*protocol.Receipt) bool) (protocol.CID, int64) {
	result, size, others := p.lowest(k, counts)
	if !others {
		return result, size
	}
	b := ballot{voters: map[peer.ID][]protocol.CID{}, sizes: map[protocol.CID]int64{}}
	for _, e := range p.Ledger.tasks.get(k).receipts {
		if r := e.open; counts(r) && p.trusts(r) {
			if !slices.Contains(b.voters[r.Worker], r.Result) {
				b.voters[r.Worker] = append(b.voters[r.Worker], r.Result)
			}
			b.sizes[r.Result] = r.Size
		}
	}
	if winner := b.winner(); winner != "" {
		return winner, b.sizes[winner]
	}
	p.contested[k] = true
	return "", 0
}

// weigh looks, after a receipt of task k was added, who has been outvoted. When
// that is news, what they gave no longer counts anywhere.
func (p *Plan) weigh(k protocol.Key) {
	if p.Manifest.Mode != protocol.Strict {
		return
	}
	r := p.Ledger.tasks.get(k)
	if !r.disputed() && !p.disputed[k] {
		return
	}
	p.disputed[k] = true
	before := p.distrusted
	p.distrusted = map[peer.ID]bool{}
	for _, d := range sortedKeys(p.disputed) {
		rec := p.Ledger.tasks.get(d)
		for _, b := range rec.ballots() {
			for _, id := range b.losers() {
				p.distrusted[id] = true
			}
		}
	}
	if !maps.Equal(p.distrusted, before) {
		p.Ledger.everything(func(k protocol.Key, _ *record) { p.derive(k) })
	}
}

// Distrusted are the nodes that were outvoted, in order.
func (p *Plan) Distrusted() []peer.ID {
	out := make([]peer.ID, 0, len(p.distrusted))
	for id := range p.distrusted {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b peer.ID) int { return cmp.Compare(a, b) })
	return out
}

// trusts reports whether a receipt may count. That of a top always may: who was
// outvoted within a column is not known outside of it, and all must agree on the
// top.
func (p *Plan) trusts(r *protocol.Receipt) bool {
	return !p.distrusted[r.Worker] || p.Layout.IsTop(r.Task)
}

// voted reports whether a node has given a result of task k.
func (p *Plan) voted(k protocol.Key, id peer.ID) bool {
	return slices.ContainsFunc(p.Ledger.tasks.get(k).receipts, func(e entry) bool { return e.open.Worker == id })
}

// hung says why the job fails if a contested task of the shard can be decided by
// nobody any more, or "".
func (s *Steward) hung() string {
	for _, k := range sortedKeys(s.plan.contested) {
		if s.plan.Layout.ShardOf(k) != s.shard || slices.ContainsFunc(s.capable(k.Stage), func(n Node) bool { return !s.plan.voted(k, n.ID) }) {
			continue
		}
		text := fmt.Sprintf("task %s of stage %q is not deterministic, as the job declares it to be, or a node is broken, and no other node is there to decide:", k, s.plan.Manifest.Stages[k.Stage].Name)
		for _, e := range s.plan.Ledger.tasks.get(k).receipts {
			text += fmt.Sprintf(" node %s gave %s;", e.open.Worker, e.open.Result)
		}
		return text[:min(len(text), protocol.MaxText)-1]
	}
	return ""
}
