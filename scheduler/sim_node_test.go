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
	steward  *Steward
	worker   *Worker
	courier  *Courier
	ended    bool
	settling bool
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
	n.plan, n.steward, n.ended, n.settling = nil, nil, false, false
	n.worker, n.courier = NewWorker(2, 1<<40, rand.New(rand.NewPCG(n.s.seed, uint64(n.index)+100*n.starts+50))), NewCourier()
	n.checking, n.running = map[protocol.Key]bool{}, map[protocol.Key]bool{}
	n.look()
	if len(n.disk.receipts)+len(n.disk.facts) > 0 {
		n.know()
	}
	n.every(25*time.Millisecond, n.tick)
	n.every(protocol.PingEvery, n.ping)
	n.every(time.Second, n.look)
	n.every(protocol.DigestEvery, n.announce)
}

// know makes the job known here, with what the disk has of it.
func (n *simNode) know() {
	if n.plan != nil {
		return
	}
	n.plan = NewPlan(n.s.job, n.s.m)
	n.steward = NewSteward(n.plan, n.id, rand.New(rand.NewPCG(n.s.seed, uint64(n.index)+100*n.starts)))
	n.look()
	n.add(n.disk.receipts, n.disk.facts)
	n.announce()
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
	before := n.steward.Stewards()
	n.perform(n.steward.SetNodes(n.now(), n.nodes))
	if s.everyone {
		ranks := slices.DeleteFunc(Rank(string(n.s.job), n.view), func(id peer.ID) bool { return id == n.id })
		n.steward.stewards = append([]peer.ID{n.id}, first(n.s.m.Copies-1, ranks)...)
	}
	if !slices.Equal(before, n.steward.Stewards()) && before != nil {
		n.announce()
	}
}

func (n *simNode) tick() {
	if n.plan == nil {
		return
	}
	if !n.ended {
		n.mutateTick()
		n.perform(n.steward.Tick(n.now()))
		n.perform(n.worker.Tick(n.now(), n.id, n.nodes, simHas))
	}
	if n.s.mutation != neverResend {
		n.perform(n.courier.Tick(n.now(), func(protocol.CID) []peer.ID { return n.steward.Stewards() }))
	}
}

// ping tells the stewards what is held here, and fellow stewards that the job
// is known here.
func (n *simNode) ping() {
	if n.plan == nil {
		return
	}
	claims := n.worker.Claims(n.now())
	stewards := n.steward.Stewards()
	var fellow []protocol.ShardRef
	if within(stewards, n.id) && !n.ended {
		fellow = []protocol.ShardRef{{Job: n.s.job}}
	}
	if len(claims)+len(fellow) == 0 {
		return
	}
	for _, id := range stewards {
		n.s.send(n, id, &protocol.Ping{Boot: n.starts, Claims: claims, Stewards: fellow})
	}
}

func (n *simNode) announce() {
	if n.plan == nil || n.ended {
		return
	}
	for _, id := range n.steward.Stewards() {
		if id != n.id {
			n.s.send(n, id, n.plan.Ledger.Announce(true))
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
	case *protocol.Done, *protocol.Announce:
		n.know()
	}
	if n.plan == nil {
		return
	}
	switch m := m.(type) {
	case *protocol.Bid:
		if !n.ended {
			n.perform(n.steward.Bid(now, from, m))
		}
	case *protocol.Ping:
		if len(m.Stewards) > 0 {
			n.steward.Fellow(now, from)
		}
		if n.ended {
			return
		}
		var c protocol.Claim
		if len(m.Claims) > 0 {
			c = m.Claims[0]
		}
		n.perform(n.steward.Pinged(now, from, m.Boot, c.Tasks, c.Running))
	case *protocol.Stolen:
		n.steward.Stolen(now, from, m)
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
			s.send(n, from, n.plan.Ledger.Announce(false))
		}
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
			n.perform(n.steward.Received(n.now(), open))
		}
		n.mutateAdd(open, before)
	}
	for _, f := range facts {
		open := opened[protocol.Fact](n.s, f.Body)
		if n.plan.AddFact(f, open) {
			n.disk.fact(f)
			if open.Run != nil {
				n.steward.FailedRun(n.now(), open.By, open.Run)
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
	n.perform(n.steward.Tick(n.now()))
}

// end acts on the job's end: whoever works for it hears of it.
func (n *simNode) end() {
	n.perform(n.steward.Tick(n.now()))
	n.ended = true
	n.perform(n.worker.Drop(n.s.job))
	_, facts := n.plan.Ledger.Everything()
	ends := slices.DeleteFunc(facts, func(f protocol.Signed) bool {
		return opened[protocol.Fact](n.s, f.Body).Kind != n.plan.Ended().Kind
	})
	for _, w := range n.steward.Involved() {
		if w != n.id {
			n.s.send(n, w, &protocol.Done{Job: n.s.job, Facts: ends})
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

// tell adds to this node's ledger and brings the same to the other stewards.
func (n *simNode) tell(receipts []protocol.SignedReceipt, facts []protocol.Signed) {
	n.add(receipts, facts)
	others := slices.DeleteFunc(slices.Clone(n.steward.Stewards()), func(id peer.ID) bool { return id == n.id })
	for _, d := range Batches(n.s.job, receipts, facts) {
		n.perform(n.courier.Post(n.now(), d, others))
	}
}
