package scheduler

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// disk is what a node keeps over a restart, unless its disk is lost too.
type disk struct {
	receipts []protocol.SignedReceipt
	facts    []protocol.Signed
	has      map[string]bool // receipts and facts, by their bytes
	blocks   map[protocol.CID]bool
	forgot   bool // the job, when its time was over
}

func newDisk() *disk { return &disk{has: map[string]bool{}, blocks: map[protocol.CID]bool{}} }

func (d *disk) receipt(r protocol.SignedReceipt) {
	if !d.has[string(r.Body)] {
		d.has[string(r.Body)], d.receipts = true, append(d.receipts, r)
	}
}

func (d *disk) fact(f protocol.Signed) {
	if !d.has[string(f.Body)] {
		d.has[string(f.Body)], d.facts = true, append(d.facts, f)
	}
}

// perform carries out what the machines want done.
func (n *simNode) perform(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			if a, award := e.Message.(*protocol.Award); award {
				n.s.seen.awarded(n, a)
			}
			n.s.send(n, e.To, e.Message)
		case Start:
			n.begin(e)
		case Stop:
			n.running[e.Task] = false
		case Stole:
			n.s.seen.thefts++
			for shard, keys := range ordered(n.plan.Layout.ByShard(e.Tasks)) {
				for _, id := range n.stewardsOf(shard) {
					n.s.send(n, id, &protocol.Stolen{Job: e.Job, From: e.From, Tasks: keys})
				}
			}
		case Check:
			n.check(e)
		case Settle:
			n.settle(e)
		case Conclude:
			n.state(protocol.Fact{Kind: protocol.Failed, Text: e.Text})
		case Noted:
			if n.s.verbose {
				fmt.Printf("%s %x %s %s by %x: %s\n", n.s.now.Sub(n.s.start), n.id[2:], e.What, e.Task, e.Peer, e.Why)
			}
			if e.What == "claim lost" || e.What == "slow task offered again" {
				n.s.seen.excuses++
			}
			if e.What == "slow task offered again" {
				n.s.seen.backups++
			}
		}
	}
}

// ordered walks a map in the order of its keys.
func ordered[V any](m map[int]V) iter.Seq2[int, V] {
	return func(yield func(int, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// begin runs a task: it ends with a receipt, fails as the scenario says, or
// cannot read an input that nobody within reach holds.
func (n *simNode) begin(e Start) {
	s := n.s
	s.seen.started(n, e.Task)
	n.lifeBegins()
	n.running[e.Task] = true
	took := time.Duration(float64(s.upTo(s.taskTime)+time.Millisecond) * n.speed)
	if s.stuck > 0 && s.rng.IntN(4) == 0 {
		s.stuck--
		took = 24 * time.Hour // unless somebody else does it, and this node is told
	}
	n.later(took, func() {
		goesOn := n.running[e.Task]
		delete(n.running, e.Task)
		n.perform(n.worker.Ended(n.now(), s.job, e.Task, took))
		if !goesOn {
			n.worker.Told(s.job, e.Task)
			return
		}
		if f := n.failure(e); f != nil {
			f.Task, f.Inputs, f.Text = e.Task, inputsOf(e), string(f.Kind)
			s.seen.failed(n, e.Task, f)
			n.state(protocol.Fact{Kind: protocol.FailedRun, Run: f})
			n.worker.Told(s.job, e.Task)
			return
		}
		n.finish(e, took)
	})
}

func inputsOf(e Start) protocol.Digest {
	var cids []protocol.CID
	for _, in := range e.Inputs {
		cids = append(cids, in.CID)
	}
	return protocol.InputsDigest(e.Task.Index, cids)
}

func (n *simNode) failure(e Start) *protocol.Failure {
	s := n.s
	if s.failing[e.Task] {
		return &protocol.Failure{Kind: protocol.FailExit, Code: 3}
	}
	if s.rng.Float64() < s.hostFailures {
		return &protocol.Failure{Kind: protocol.FailHost}
	}
	if s.life != nil && e.Task.Stage == 0 {
		return n.unreadable()
	}
	if e.Task.Stage == 0 && s.now.Before(s.start.Add(s.away)) {
		return &protocol.Failure{Kind: protocol.FailInput, Lost: s.m.Splits}
	}
	for _, in := range e.Inputs {
		if e.Task.Stage > 0 && len(n.holders(in.CID)) == 0 {
			return &protocol.Failure{Kind: protocol.FailInput, Lost: in.CID}
		}
	}
	return nil
}

// holders are the nodes within reach that hold a result whole, this one
// perhaps.
func (n *simNode) holders(c protocol.CID) []peer.ID {
	var out []peer.ID
	n.s.each(up, func(x *simNode) {
		if x.whole(c) && (x == n || n.s.talks(n.id, x.id)) {
			out = append(out, x.id)
		}
	})
	return out
}

// whole reports whether a result is held here with all that it links to.
func (n *simNode) whole(c protocol.CID) bool {
	return n.disk.blocks[c] && !slices.ContainsFunc(n.s.links[c], func(l protocol.CID) bool { return !n.disk.blocks[l] })
}

// fetch has this node hold what it can of a result that from brings.
func (n *simNode) fetch(c protocol.CID, from []peer.ID) bool {
	for _, id := range from {
		for _, b := range append([]protocol.CID{c}, n.s.links[c]...) {
			if n.s.nodes[id].disk.blocks[b] {
				n.disk.blocks[b] = true
			}
		}
	}
	return n.whole(c)
}

func (n *simNode) finish(e Start, took time.Duration) {
	s := n.s
	var cids []protocol.CID
	for _, in := range e.Inputs {
		cids = append(cids, in.CID)
	}
	r := protocol.Receipt{Job: s.job, Task: e.Task, Inputs: inputsOf(e), Worker: n.id, Took: took, Size: 1}
	r.Result = simResult(e.Task, cids)
	if s.m.Mode == protocol.Provenance {
		r.Result = protocol.NewCID(protocol.CodecRaw, []byte(fmt.Sprint(r.Result, s.rng.IntN(4))))
	}
	signed := protocol.SignedReceipt{Body: protocol.Encode(r)}
	s.seen.ran[string(signed.Body)] = true
	n.disk.blocks[r.Result] = true
	if e.Task.Stage > DataStage(s.m) && n.plan.Layout.IsTop(e.Task) {
		s.links[r.Result] = cids
	}
	told := func() {
		n.tell([]protocol.SignedReceipt{signed}, nil)
		n.worker.Told(s.job, e.Task)
	}
	if s.inline {
		signed.Block = []byte{1}
		told()
		return
	}
	if s.m.Stages[e.Task.Stage].Kind == protocol.ConcatStage { // settled, with its parts and what they are
		told()
		return
	}
	copies, key := min(protocol.IntermediateCopies, s.m.Copies)-1, fmt.Sprint(s.job, e.Task.Stage, e.Task.Index/protocol.MaxOfferBatch)
	if e.Task.Stage >= DataStage(s.m) {
		copies, key = s.m.Copies-1, string(s.job)
	}
	targets := slices.DeleteFunc(Rank(key, n.view), func(id peer.ID) bool { return id == n.id })
	n.place(signed, targets, copies, told)
}

// place copies a result, with the receipt that says what it is, to the first of
// targets that answer, one after another.
func (n *simNode) place(r protocol.SignedReceipt, targets []peer.ID, copies int, then func()) {
	c := opened[protocol.Receipt](n.s, r.Body).Result
	if copies <= 0 || len(targets) == 0 {
		then()
		return
	}
	n.s.call(n, targets[0], func(ok bool) {
		if x := n.s.nodes[targets[0]]; ok && x.fetch(c, append(n.holders(c), n.id)) && x.hold(c, r) {
			copies--
		}
		n.place(r, targets[1:], copies, then)
	})
}

// hold keeps a copy, and what it is; not of a job whose time is over.
func (n *simNode) hold(c protocol.CID, r protocol.SignedReceipt) bool {
	if n.s.mutation == bareCopies {
		n.disk.blocks[c] = true
		return true
	}
	n.know()
	if n.plan == nil {
		n.disk.forgot = true // what it has fetched is nobody's, since it takes the job's time to be over
		return false
	}
	n.disk.blocks[c] = true
	n.add([]protocol.SignedReceipt{r}, nil)
	return true
}

// check looks for the results of e.Deps; those that nobody holds are lost.
func (n *simNode) check(e Check) {
	if n.checking[e.Task] {
		return
	}
	n.checking[e.Task] = true
	n.later(20*time.Millisecond+n.s.upTo(100*time.Millisecond), func() {
		delete(n.checking, e.Task)
		if n.plan == nil {
			return
		}
		var lost []protocol.Key
		for _, d := range e.Deps {
			c, _ := n.plan.Result(d)
			if !c.Defined() || n.s.mutation == ignoreLoss {
				continue
			}
			if len(n.holders(c)) > 0 {
				n.plan.Find(d)
				continue
			}
			n.excuse(d)
			n.plan.Lose(d)
			if n.plan.Layout.ShardOf(d) != e.Shard {
				lost = append(lost, d)
			}
		}
		if n.ended {
			return
		}
		for shard, keys := range ordered(n.plan.Layout.ByShard(lost)) {
			for _, id := range n.stewardsOf(shard) {
				n.s.send(n, id, &protocol.Lost{Job: n.s.job, Tasks: keys})
			}
		}
		n.tickStewards()
	})
}

// excuse counts what runs again when a result is lost: its task, and what it
// was made from if that is not known here.
func (n *simNode) excuse(k protocol.Key) {
	n.s.seen.excuses++
	if k.Stage == 0 || !n.plan.Layout.IsTop(k) {
		return
	}
	from, count := dependencies(n.s.m, k)
	for i := from; i < from+count; i++ {
		n.s.seen.excuses += 1 + protocol.MergeArity
	}
}

// settle has what the root joins held by enough nodes; the job shard then
// states the job final.
func (n *simNode) settle(e Settle) {
	if n.settling[e.Shard] {
		return
	}
	if n.s.mutation == finalAtOnce {
		if e.Shard == 0 {
			n.s.seen.finals(n, []protocol.CID{e.Root}, min(n.s.m.Copies, len(n.view)))
			n.state(protocol.Fact{Kind: protocol.Final, Root: e.Root})
		}
		return
	}
	n.settling[e.Shard] = true
	deps := n.plan.Joins(e.Shard)
	joined, _ := n.plan.Results(deps)
	if n.s.loseParts > 0 {
		n.s.loseParts--
		n.s.loseResult(joined[n.s.rng.IntN(len(joined))])
	}
	parts, vouchers := n.plan.Results(e.Parts)
	last, more := n.plan.Results(e.Last)
	maps.Copy(vouchers, more)
	if e.Shard == 0 {
		n.s.dags[e.Root] = joined
	}
	m, plan := NewSettlement(e.Job, parts, last, n.s.m.Copies, n.view, n.view), n.plan
	n.pursue(m, n.carryBlocks(vouchers), func() {
		n.settling[e.Shard] = false
		switch {
		case n.ended || n.plan != plan:
		case m.Failed() != "":
			n.check(Check{Shard: e.Shard, Task: protocol.Key{Stage: DataStage(n.s.m)}, Deps: deps})
		case e.Shard > 0:
			if st := n.stewards[e.Shard]; st != nil {
				st.Settled()
			}
		case n.plan.Root() == e.Root: // not another one by now
			n.s.seen.finals(n, joined, m.Copies())
			n.state(protocol.Fact{Kind: protocol.Final, Root: e.Root, Copies: m.Copies()})
		}
	})
}
