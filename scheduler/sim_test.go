package scheduler

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// sim runs the machines of several nodes over one job on a network that
// delays, loses and repeats messages, while nodes crash. Signatures are left
// out: they are protocol's business.
type sim struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Time
	queue events
	seq   int
	nodes map[peer.ID]*simNode
	ids   []peer.ID
	m     *protocol.Manifest
	job   protocol.CID
	loss  float64
	runs  int
}

type simNode struct {
	id      peer.ID
	boot    uint64
	dead    bool
	plan    *Plan
	steward *Steward
	worker  *Worker
	courier *Courier
}

type event struct {
	at  time.Time
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newSim(t *testing.T, seed uint64, nodes int, m *protocol.Manifest) *sim {
	s := &sim{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), nodes: map[peer.ID]*simNode{},
		m: m, job: protocol.NewCID(protocol.CodecDagCBOR, []byte(fmt.Sprint(seed))), loss: 0.05,
	}
	for i := range nodes {
		id := peer.ID(fmt.Sprintf("\x00\x02%02d", i)) // an identity multihash
		n := &simNode{id: id, boot: uint64(i) + 1, plan: NewPlan(s.job, m), worker: NewWorker(2), courier: NewCourier()}
		n.steward = NewSteward(n.plan, id, rand.New(rand.NewPCG(seed, uint64(i)+100)))
		s.nodes[id], s.ids = n, append(s.ids, id)
	}
	committed := &protocol.Fact{Job: s.job, Kind: protocol.Committed, By: s.ids[0], At: s.now}
	signed := protocol.Signed{Body: protocol.Encode(committed)}
	s.eachLive(func(n *simNode) {
		n.plan.AddFact(signed, committed)
		s.perform(n, n.steward.SetNodes(s.now, s.live()))
		s.every(n, 25*time.Millisecond, func() {
			s.perform(n, n.steward.Tick(s.now))
			s.perform(n, n.courier.Tick(s.now, func(protocol.CID) []peer.ID { return n.steward.Stewards() }))
		})
		s.every(n, protocol.PingEvery, func() { s.ping(n) })
		s.every(n, protocol.DigestEvery, func() { s.announce(n) })
	})
	return s
}

func (s *sim) live() []Node {
	var out []Node
	s.eachLive(func(n *simNode) {
		out = append(out, Node{ID: n.id, Slots: 2, Kinds: []protocol.ProgramKind{protocol.Wasm}})
	})
	return out
}

func (s *sim) eachLive(f func(*simNode)) {
	for _, id := range s.ids {
		if n := s.nodes[id]; !n.dead {
			f(n)
		}
	}
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{s.now.Add(d), s.seq, do})
}

func (s *sim) every(n *simNode, d time.Duration, do func()) {
	s.after(d*3/4+time.Duration(s.rng.Int64N(int64(d/2))), func() {
		if !n.dead {
			do()
			s.every(n, d, do)
		}
	})
}

func (s *sim) ping(n *simNode) {
	claims := n.worker.Claims()
	for _, id := range n.steward.Stewards() {
		s.send(n, id, &protocol.Ping{Boot: n.boot, Claims: claims})
	}
}

func (s *sim) announce(n *simNode) {
	for _, id := range n.steward.Stewards() {
		if id != n.id {
			s.send(n, id, n.plan.Ledger.Announce(true))
		}
	}
}

func (s *sim) send(n *simNode, to peer.ID, m protocol.Message) {
	copies := 1
	if to != n.id {
		switch x := s.rng.Float64(); {
		case x < s.loss:
			copies = 0
		case x < 2*s.loss:
			copies = 2
		}
	}
	for range copies {
		s.after(time.Duration(s.rng.Int64N(int64(20*time.Millisecond))), func() {
			if target := s.nodes[to]; !target.dead {
				s.deliver(target, n.id, m)
			}
		})
	}
}

func (s *sim) deliver(n *simNode, from peer.ID, m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Offer:
		s.perform(n, n.worker.Offered(s.now, from, m, 0, ""))
	case *protocol.Bid:
		s.perform(n, n.steward.Bid(s.now, from, m))
	case *protocol.Award:
		s.perform(n, n.worker.Awarded(from, m))
	case *protocol.Ping:
		var c protocol.Claim
		if len(m.Claims) > 0 {
			c = m.Claims[0]
		}
		n.steward.Fellow(s.now, from)
		s.perform(n, n.steward.Pinged(s.now, from, m.Boot, c.Tasks, c.Running))
	case *protocol.Done:
		s.receive(n, m)
		if m.Number > 0 {
			s.send(n, from, &protocol.Ack{Job: m.Job, Number: m.Number})
		}
	case *protocol.Ack:
		n.courier.Acked(from, m)
	case *protocol.Announce:
		for _, d := range n.plan.Ledger.LackedBy(m) {
			s.send(n, from, d)
		}
		if m.Reply && n.plan.Ledger.Lacks(m) {
			s.send(n, from, n.plan.Ledger.Announce(false))
		}
	}
}

func (s *sim) receive(n *simNode, d *protocol.Done) {
	for _, r := range d.Receipts {
		var open protocol.Receipt
		if err := protocol.Decode(r.Body, &open); err != nil {
			s.t.Fatal(err)
		}
		if n.plan.AddReceipt(r, &open) {
			n.steward.Received(&open)
		}
	}
	for _, f := range d.Facts {
		var open protocol.Fact
		if err := protocol.Decode(f.Body, &open); err != nil {
			s.t.Fatal(err)
		}
		n.plan.AddFact(f, &open)
	}
	s.perform(n, n.steward.Tick(s.now))
}

func (s *sim) perform(n *simNode, effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Send:
			s.send(n, e.To, e.Message)
		case Start:
			s.runs++
			took := time.Duration(s.rng.Int64N(int64(300 * time.Millisecond)))
			s.after(took, func() {
				if !n.dead {
					s.finish(n, e, took)
				}
			})
		case Settle:
			f := protocol.Fact{Job: s.job, Kind: protocol.Final, By: n.id, Root: e.Root, At: s.now}
			s.tell(n, &protocol.Done{Job: s.job, Facts: []protocol.Signed{{Body: protocol.Encode(f)}}})
		}
	}
}

func (s *sim) tell(n *simNode, d *protocol.Done) {
	s.receive(n, d)
	s.perform(n, n.courier.Post(s.now, d, n.steward.Stewards()))
}

func (s *sim) finish(n *simNode, e Start, took time.Duration) {
	var cids []protocol.CID
	for _, in := range e.Inputs {
		cids = append(cids, in.CID)
	}
	r := protocol.Receipt{Job: s.job, Task: e.Task, Inputs: protocol.InputsDigest(e.Task.Index, cids), Worker: n.id, Took: took, Size: 1}
	r.Result = simResult(e.Task, cids)
	s.perform(n, n.worker.Ended(s.job, e.Task, took))
	s.tell(n, &protocol.Done{Job: s.job, Receipts: []protocol.SignedReceipt{{Body: protocol.Encode(r)}}})
	n.worker.Told(s.job, e.Task)
}

// simResult is the result of a deterministic task: a function of what it reads.
func simResult(k protocol.Key, inputs []protocol.CID) protocol.CID {
	d := protocol.InputsDigest(k.Index, inputs)
	return protocol.NewCID(protocol.CodecRaw, append(d[:], byte(k.Stage)))
}

// sequentialRoot is the root that one machine gives.
func sequentialRoot(m *protocol.Manifest) protocol.CID {
	var before []protocol.CID
	for s, stage := range m.Stages {
		results := make([]protocol.CID, stage.Tasks)
		for i := range results {
			k := protocol.Key{Stage: s, Index: i}
			inputs := []protocol.CID{m.Splits}
			if s > 0 {
				from, count := dependencies(m, k)
				inputs = before[from : from+count]
			}
			results[i] = simResult(k, inputs)
		}
		before = results
	}
	return before[0]
}

func (s *sim) crash(id peer.ID) {
	n := s.nodes[id]
	n.dead = true
	s.after(time.Duration(s.rng.Int64N(int64(3*time.Second))), func() { // noticed some time later
		s.eachLive(func(n *simNode) { s.perform(n, n.steward.SetNodes(s.now, s.live())) })
	})
}

// run lets time pass until every live node knows the end, or fails the test.
func (s *sim) run(limit time.Duration) {
	deadline := s.now.Add(limit)
	for s.queue.Len() > 0 && s.now.Before(deadline) {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.do()
		ended := true
		s.eachLive(func(n *simNode) {
			if slices.Contains(n.steward.Stewards(), n.id) {
				ended = ended && n.plan.Ended() != nil
			}
		})
		if ended {
			return
		}
	}
	s.eachLive(func(n *simNode) {
		s.t.Logf("%s acting=%v done=%d waiting=%q claims=%d offers=%d", n.id, n.steward.Acting(), n.plan.Done(), n.steward.Waiting(), len(n.steward.claims), len(n.steward.offers))
	})
	s.t.Fatalf("seed %d: no end within %s; repeat with: go test ./scheduler -run TestCrashes -seed %d", s.seed, limit, s.seed)
}

func simManifest(splits, partitions int, combine bool) *protocol.Manifest {
	p := &protocol.Program{Kind: protocol.Wasm, Module: protocol.NewCID(protocol.CodecRaw, []byte("program"))}
	c := Chain{Splits: splits, Map: *p, Partitions: partitions}
	if partitions > 0 {
		c.Reduce = p
	}
	if combine {
		c.Combine = p
	}
	return &protocol.Manifest{Copies: 3, Mode: protocol.Strict, Splits: protocol.NewCID(protocol.CodecDagCBOR, []byte("splits")), Stages: Stages(c)}
}
