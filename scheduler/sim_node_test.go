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
	clock    *Clock
	lies     time.Duration // what it says of the time is so far off
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
	n.worker, n.courier = NewWorker(2, 1<<40, rand.New(rand.NewPCG(n.s.seed, uint64(n.index)+100*n.starts+50))), NewCourier(1000*n.starts)
	n.checking, n.running = map[protocol.Key]bool{}, map[protocol.Key]bool{}
	n.clock = NewClock()
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
	if n.s.life != nil {
		n.every(time.Second, n.sweep)
		n.every(2*time.Second, n.release)
	}
}

// know makes the job known here, with what the disk has of it.
func (n *simNode) know() {
	if n.plan != nil || n.lifeOver() {
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
	st.SetClock(n.clock)
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
		seen := s.net.side[x.id] == s.net.side[n.id] && (s.blind || !x.hung())
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
		n.nodes = append(n.nodes, Node{Boot: s.nodes[id].starts, Load: running + queued, ID: id, Slots: 2, Has: simHas})
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
	n.eachSteward(func(st *Steward) { n.perform(st.Tick(n.now())) })
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
			n.lifeGrows()
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
	if n.plan == nil {
		return
	}
	f.Job, f.By, f.At = n.s.job, n.id, n.now()
	n.tell(nil, []protocol.Signed{{Body: protocol.Encode(f)}})
}

// tell adds to this node's ledger and brings the same to the other stewards of
// the shards that hear of it.
func (n *simNode) tell(receipts []protocol.SignedReceipt, facts []protocol.Signed) {
	if n.plan == nil {
		return
	}
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
