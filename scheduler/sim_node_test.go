package scheduler

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// simNode is what package node is around the machines: it keeps a ledger on
// disk, a view of who lives, and carries effects out.
type simNode struct {
	s     *sim
	id    peer.ID
	index int
	disk  *disk

	up     bool
	starts uint64 // counts boots, and is the boot ID
	hangs  time.Time
	offset time.Duration // of its clock
	drift  float64
	speed  float64 // its tasks take so many times longer
	view   []peer.ID
	nodes  []Node // of the view

	plan     *Plan // nil while the job is not known here
	stewards map[int]*Steward
	ranks    *Ranks
	worker   *Worker
	courier  *Courier
	ended    bool
	settling map[int]bool
	checking map[protocol.Key]bool
	running  map[protocol.Key]bool // false once it was told to stop
}

// simHas is what every node has, and simNeeds what every task needs.
var simHas = protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Wasm}, Cores: 2, Memory: 1 << 40}

func simNeeds(protocol.Key) protocol.Needs { return protocol.Needs{} }

func (n *simNode) now() time.Time {
	d := n.s.now.Sub(n.s.start)
	return n.s.now.Add(n.offset + time.Duration(float64(d)*n.drift))
}

func (n *simNode) hung() bool { return n.hangs.After(n.s.now) }

// later does something on this node unless it has been started anew; a node
// that hangs does it when it goes on.
func (n *simNode) later(d time.Duration, do func()) {
	starts := n.starts
	var act func()
	act = func() {
		switch {
		case !n.up || n.starts != starts:
		case n.hung():
			n.s.after(n.hangs.Sub(n.s.now)+time.Microsecond, act)
		default:
			do()
		}
	}
	n.s.after(d, act)
}

func (n *simNode) every(d time.Duration, do func()) {
	n.later(d*3/4+n.s.upTo(d/2), func() {
		do()
		n.every(d, do)
	})
}

// boot starts the node with what its disk holds, and with a new boot ID.
func (n *simNode) boot() {
	n.starts++
	n.up, n.hangs = true, time.Time{}
	n.plan, n.stewards, n.ended, n.settling = nil, nil, false, map[int]bool{}
	n.worker, n.courier = NewWorker(2, 1<<40, rand.New(rand.NewPCG(n.s.seed, uint64(n.index)+100*n.starts+50))), NewCourier()
	n.checking, n.running = map[protocol.Key]bool{}, map[protocol.Key]bool{}
	n.look()
	if len(n.disk.receipts)+len(n.disk.facts) > 0 {
		n.know()
	}
	n.every(25*time.Millisecond, n.tick)
	n.every(protocol.PingEvery, n.ping)
	n.every(time.Second, n.look)
	n.every(protocol.DigestEvery, func() {
		if n.plan != nil {
			n.announce(n.plan.Awake())
		}
	})
}

// know makes the job known here, with what the disk has of it.
func (n *simNode) know() {
	if n.plan != nil {
		return
	}
	n.plan, n.stewards = n.s.newPlan(), map[int]*Steward{}
	n.ranks = NewRanks(n.s.job, n.s.m.Copies)
	n.look()
	n.steward(0)
	n.add(n.disk.receipts, n.disk.facts)
	n.announce(n.plan.Heard())
}

func (s *sim) newPlan() *Plan { return newPlan(s.job, s.m, s.layout()) }

func (c *scenario) layout() *Layout { return layoutOf(c.m, c.leaves) }

// steward is this node's steward of a shard, which it becomes if it is not.
func (n *simNode) steward(shard int) *Steward {
	if st := n.stewards[shard]; st != nil {
		return st
	}
	st := NewSteward(n.plan, shard, n.id, rand.New(rand.NewPCG(n.s.seed, uint64(n.index)+100*n.starts+10000*uint64(shard))))
	n.stewards[shard] = st
	n.inform(st)
	return st
}

// wake has this node look after a shard, if it ranks among its stewards.
func (n *simNode) wake(shard int) {
	if shard < n.plan.Layout.Shards() && within(n.stewardsOf(shard), n.id) && !n.ended {
		n.steward(shard)
	}
}

func (n *simNode) stewardsOf(shard int) []peer.ID {
	if st := n.stewards[shard]; st != nil {
		return st.Stewards()
	}
	if n.s.everyone {
		return n.believed(shard)
	}
	return n.ranks.Of(shard)
}

// believed are a shard's stewards where everyone takes itself for the first.
func (n *simNode) believed(shard int) []peer.ID {
	others := slices.DeleteFunc(Stewards(string(n.s.job), shard, len(n.view), n.view), func(id peer.ID) bool { return id == n.id })
	return append([]peer.ID{n.id}, first(n.s.m.Copies-1, others)...)
}

// inform tells a steward who lives.
func (n *simNode) inform(st *Steward) {
	n.perform(st.SetNodes(n.now(), n.nodes))
	if n.s.everyone {
		st.stewards = n.believed(st.shard)
	}
}

// eachSteward walks this node's stewards in the order of their shards.
func (n *simNode) eachSteward(f func(*Steward)) {
	for shard := range n.plan.Layout.Shards() {
		if st := n.stewards[shard]; st != nil {
			f(st)
		}
	}
}

// look brings the view up to date: it sees who can be reached by others of
// this node's side. A cut in one direction is not seen.
func (n *simNode) look() {
	s := n.s
	n.view = nil
	s.each(up, func(x *simNode) {
		seen := s.net.side[x.id] == s.net.side[n.id] && !x.hung()
		if s.randomViews && s.now.Before(s.lastFault) {
			seen = seen && s.rng.IntN(2) == 0
		}
		if seen || x == n {
			n.view = append(n.view, x.id)
		}
	})
	if n.plan == nil {
		return
	}
	n.nodes = nil
	for _, id := range n.view {
		running, queued := s.nodes[id].worker.Load()
		n.nodes = append(n.nodes, Node{Load: running + queued, ID: id, Slots: 2, Has: simHas})
	}
	before := map[int][]peer.ID{}
	for _, shard := range n.plan.Heard() {
		before[shard] = n.stewardsOf(shard)
	}
	n.ranks.SetNodes(n.nodes)
	n.eachSteward(n.inform)
	n.announce(slices.DeleteFunc(n.plan.Heard(), func(shard int) bool { return slices.Equal(before[shard], n.stewardsOf(shard)) }))
}

func (n *simNode) tick() {
	if n.plan == nil {
		return
	}
	if !n.ended {
		n.mutateTick()
		n.tickStewards()
		n.perform(n.worker.Tick(n.now(), n.id, n.nodes, simHas))
	}
	if n.s.mutation != neverResend {
		n.perform(n.courier.Tick(n.now(), func(_ protocol.CID, shard int) []peer.ID { return n.stewardsOf(shard) }))
	}
}

func (n *simNode) tickStewards() {
	n.eachSteward(func(st *Steward) {
		n.perform(st.Tick(n.now()))
		if st.Over() {
			delete(n.stewards, st.shard)
		}
	})
}

// ping tells the stewards of shards what is held here of them, fellow stewards
// that the shard is known here, and those of the job how far the shard is.
func (n *simNode) ping() {
	if n.plan == nil {
		return
	}
	pings := map[peer.ID]*protocol.Ping{}
	to := func(id peer.ID) *protocol.Ping {
		if pings[id] == nil {
			pings[id] = &protocol.Ping{Boot: n.starts}
		}
		return pings[id]
	}
	for _, c := range n.worker.Claims(n.now()) {
		for shard, part := range ordered(n.plan.Layout.Split(c)) {
			for _, id := range n.stewardsOf(shard) {
				p := to(id)
				p.Claims = []protocol.Claim{Joined(append(p.Claims, protocol.Claim{})[0], part)}
			}
		}
	}
	n.eachSteward(func(st *Steward) {
		if n.ended || !within(st.Stewards(), n.id) {
			return
		}
		for _, id := range st.Stewards() {
			to(id).Stewards = append(to(id).Stewards, protocol.ShardRef{Job: n.s.job, Shard: st.shard})
		}
		if p, acting := st.Progress(); acting && st.shard > 0 {
			for _, id := range n.stewardsOf(0) {
				to(id).Progress = append(to(id).Progress, p)
			}
		}
	})
	for _, id := range n.s.ids {
		if p := pings[id]; p != nil {
			n.s.send(n, id, p)
		}
	}
}

// announce tells the stewards of shards what is known here of them.
func (n *simNode) announce(shards []int) {
	if n.plan == nil || n.ended {
		return
	}
	for _, shard := range shards {
		for _, id := range n.stewardsOf(shard) {
			if id != n.id {
				n.s.send(n, id, n.plan.Ledger.Announce(shard, true))
			}
		}
	}
}

func (n *simNode) deliver(from peer.ID, m protocol.Message) {
	s, now := n.s, n.now()
	switch m := m.(type) {
	case *protocol.Offer:
		n.perform(n.worker.Offered(now, from, m, 0, ""))
		s.seen.reserved(n)
		return
	case *protocol.Ack:
		n.courier.Acked(from, m)
		return
	case *protocol.Award:
		if len(m.Tasks) > 0 {
			n.know()
		}
		if len(m.Tasks) == 0 || !n.ended {
			n.perform(n.worker.Awarded(now, from, m, simNeeds))
			n.mutateAward(m)
		}
		return
	case *protocol.Steal:
		n.perform(n.worker.Asked(now, from, m))
		return
	case *protocol.Loot:
		if len(m.Tasks) > 0 {
			n.know()
		}
		if len(m.Tasks) == 0 || !n.ended {
			n.perform(n.worker.Looted(now, from, m, simNeeds))
		}
		return
	case *protocol.Release:
		n.perform(n.worker.Released(m))
		return
	case *protocol.Done:
		n.know()
		n.wake(m.Shard)
	case *protocol.Announce:
		n.know()
		n.wake(m.Shard)
	case *protocol.Lost:
		n.know()
	}
	if n.plan == nil {
		return
	}
	switch m := m.(type) {
	case *protocol.Bid:
		if !n.ended {
			n.perform(n.asker(m.Reservation).Bid(now, from, m))
		}
	case *protocol.Ping:
		n.pinged(now, from, m)
	case *protocol.Lost:
		if len(m.Tasks) > 0 && !n.ended {
			shard := n.plan.Layout.ShardOf(m.Tasks[0])
			n.wake(shard)
			n.check(Check{Shard: shard, Task: m.Tasks[0], Deps: m.Tasks})
		}
	case *protocol.Stolen:
		n.eachSteward(func(st *Steward) { st.Stolen(now, from, m) })
	case *protocol.Done:
		n.add(m.Receipts, m.Facts)
		s.seen.arrived(s, n, from, m)
		if m.Number > 0 {
			s.send(n, from, &protocol.Ack{Job: m.Job, Number: m.Number})
		}
	case *protocol.Announce:
		for _, d := range n.plan.Ledger.LackedBy(m) {
			s.send(n, from, d)
		}
		if m.Reply && n.plan.Ledger.Lacks(m) {
			s.send(n, from, n.plan.Ledger.Announce(m.Shard, false))
		}
	}
}

// asker is the steward that made an offer; any when it is closed.
func (n *simNode) asker(reservation uint64) *Steward {
	asker := n.steward(0)
	n.eachSteward(func(st *Steward) {
		if st.Asks(reservation) {
			asker = st
		}
	})
	return asker
}

func (n *simNode) pinged(now time.Time, from peer.ID, p *protocol.Ping) {
	for _, r := range p.Stewards {
		if st := n.stewards[r.Shard]; st != nil {
			st.Fellow(now, from)
		}
	}
	if n.ended {
		return
	}
	var held map[int]protocol.Claim
	if len(p.Claims) > 0 {
		held = n.plan.Layout.Split(p.Claims[0])
	}
	n.eachSteward(func(st *Steward) {
		n.perform(st.Pinged(now, from, p.Boot, held[st.shard].Tasks, held[st.shard].Running))
	})
	for _, progress := range p.Progress {
		n.steward(0).Reported(now, progress)
	}
}

// add joins receipts and facts into the ledger, in memory and on disk.
func (n *simNode) add(receipts []protocol.SignedReceipt, facts []protocol.Signed) {
	for _, r := range receipts {
		open := opened[protocol.Receipt](n.s, r.Body)
		before, _ := n.plan.Result(open.Task)
		if len(r.Block) > 0 {
			n.disk.blocks[open.Result] = true
		}
		if n.plan.AddReceipt(r, open) {
			n.disk.receipt(r)
			if st := n.stewards[n.plan.Layout.ShardOf(open.Task)]; st != nil {
				n.perform(st.Received(n.now(), open))
			}
		}
		n.mutateAdd(open, before)
	}
	for _, f := range facts {
		open := opened[protocol.Fact](n.s, f.Body)
		if n.plan.AddFact(f, open) {
			n.disk.fact(f)
			if open.Run == nil {
				continue
			}
			if st := n.stewards[n.plan.Layout.ShardOf(open.Run.Task)]; st != nil {
				st.FailedRun(n.now(), open.By, open.Run)
			}
		}
	}
	if n.ended {
		return
	}
	if n.plan.Ended() != nil {
		n.end()
		return
	}
	n.tickStewards()
}

// end acts on the job's end: whoever works for it hears of it, and from the job
// shard's stewards those of the other shards.
func (n *simNode) end() {
	n.tickStewards()
	n.ended = true
	n.perform(n.worker.Drop(n.s.job))
	ends := n.plan.Ledger.Stated(n.plan.Ended().Kind)
	tell := map[peer.ID]bool{}
	n.eachSteward(func(st *Steward) {
		for _, id := range st.Involved() {
			tell[id] = true
		}
	})
	for shard := 1; shard < n.plan.Layout.Shards() && within(n.stewardsOf(0), n.id); shard++ {
		for _, id := range n.stewardsOf(shard) {
			tell[id] = true
		}
	}
	for _, id := range n.s.ids {
		if tell[id] && id != n.id {
			n.s.send(n, id, &protocol.Done{Job: n.s.job, Facts: ends})
		}
	}
}

// opened decodes what is signed, once for all nodes.
func opened[T any](s *sim, body []byte) *T {
	if open, known := s.opens[string(body)]; known {
		return open.(*T)
	}
	open := new(T)
	if err := protocol.Decode(body, open); err != nil {
		panic(err)
	}
	s.opens[string(body)] = open
	return open
}

func (n *simNode) state(f protocol.Fact) {
	f.Job, f.By, f.At = n.s.job, n.id, n.now()
	n.tell(nil, []protocol.Signed{{Body: protocol.Encode(f)}})
}

// tell adds to this node's ledger and brings the same to the other stewards of
// the shards that hear of it.
func (n *simNode) tell(receipts []protocol.SignedReceipt, facts []protocol.Signed) {
	n.add(receipts, facts)
	mail := Mail{}
	for _, r := range receipts {
		mail.Receipt(n.plan.Layout, opened[protocol.Receipt](n.s, r.Body).Task, r)
	}
	for _, f := range facts {
		mail.Fact(n.plan.Layout, opened[protocol.Fact](n.s, f.Body), f)
	}
	for _, d := range mail.Messages(n.s.job) {
		others := slices.DeleteFunc(slices.Clone(n.stewardsOf(d.Shard)), func(id peer.ID) bool { return id == n.id })
		n.perform(n.courier.Post(n.now(), d, others))
	}
}
