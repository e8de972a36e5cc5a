package scheduler

import (
	"math/rand/v2"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// scenario is all that a seed decides before a run begins. What happens in it
// is drawn from the same seed.
type scenario struct {
	seed     uint64
	class    string
	m        *protocol.Manifest
	size     int // nodes at the start
	joiners  int
	taskTime time.Duration // the longest, on a node of usual speed
	inline   bool          // results ride in their receipts
	limit    time.Duration // L1: from the last fault to the end

	loss, repeat, loseAwards float64
	delay                    time.Duration
	ordered                  bool // all messages take the same time
	skew, slow               bool
	everyone, randomViews    bool
	hostFailures             float64
	failing                  map[protocol.Key]bool
	cancels                  bool
	keepDisks                bool // crashes lose no disk
	loseParts                int  // of the root, when it is known and not copied yet
	leaves                   int  // of a column
	loseThefts               float64
	away                     time.Duration // for which nobody can read the job's inputs
	stuck                    int           // tasks that never end where they begin first
	whole                    bool          // the job is submitted, kept and forgotten: see life
	blind                    bool          // views show nodes that hang as alive

	faults   []func(*sim)
	mutation mutation
	tracing  bool
	verbose  bool // print what the machines note
}

// classes are the kinds of scenario; seeds go through them in turn.
var classes = []struct {
	name string
	set  func(c *scenario, rng *rand.Rand)
}{
	{"quiet", func(c *scenario, rng *rand.Rand) { c.loss, c.repeat, c.ordered = 0, 0, true }},
	{"lossy", func(c *scenario, rng *rand.Rand) {}},
	{"crashes", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){crashes} }},
	{"partition", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){partition} }},
	{"one-way cuts", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){oneWayCuts} }},
	{"hangs", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){hangs} }},
	{"joiners", func(c *scenario, rng *rand.Rand) { c.joiners, c.faults = 1+rng.IntN(6), []func(*sim){join} }},
	{"joiners and crashes", func(c *scenario, rng *rand.Rand) {
		c.joiners, c.faults = 1+rng.IntN(6), []func(*sim){join, crashes}
	}},
	{"one or two", func(c *scenario, rng *rand.Rand) { c.size, c.faults = 1+rng.IntN(2), []func(*sim){restarts} }},
	{"stewards in turn", func(c *scenario, rng *rand.Rand) {
		c.size, c.taskTime, c.faults = max(c.size, 6), 3*time.Second, []func(*sim){stewardsInTurn}
	}},
	{"all stewards at once", func(c *scenario, rng *rand.Rand) {
		c.size, c.taskTime, c.faults = max(c.size, 8), 2*time.Second, []func(*sim){allStewards}
		c.m = simManifest(40+rng.IntN(80), rng.IntN(4), rng.IntN(2) == 0)
	}},
	{"everyone is steward", func(c *scenario, rng *rand.Rand) {
		c.everyone, c.size, c.m = true, 2+rng.IntN(6), simManifest(1+rng.IntN(30), rng.IntN(3), rng.IntN(2) == 0)
	}},
	{"random views", func(c *scenario, rng *rand.Rand) {
		c.randomViews, c.faults = true, []func(*sim){func(s *sim) { s.healed(s.upTo(2 * s.span())) }}
	}},
	{"lost blocks", func(c *scenario, rng *rand.Rand) {
		c.inline, c.loseParts, c.faults = false, rng.IntN(3), []func(*sim){loseBlocks}
	}},
	{"lost tops", func(c *scenario, rng *rand.Rand) {
		c.leaves, c.inline, c.taskTime = 8, false, max(c.taskTime, 300*time.Millisecond)
		c.m = simManifest(9+rng.IntN(60), rng.IntN(4), true)
		c.faults = []func(*sim){loseTops}
	}},
	{"lost thefts", func(c *scenario, rng *rand.Rand) {
		c.loseThefts, c.size, c.taskTime = rng.Float64()/2, 3+rng.IntN(6), time.Duration(1+rng.IntN(400))*time.Millisecond
		if rng.IntN(2) == 0 {
			c.faults = []func(*sim){crashes}
		}
	}},
	{"inputs away", func(c *scenario, rng *rand.Rand) {
		c.away = time.Duration(rng.Int64N(int64(20 * time.Second)))
		c.faults = []func(*sim){func(s *sim) { s.healed(s.away) }}
	}},
	{"stuck tasks", func(c *scenario, rng *rand.Rand) { c.stuck = 1 + rng.IntN(3) }},
	{"failing task", func(c *scenario, rng *rand.Rand) {
		c.failing = map[protocol.Key]bool{{Index: rng.IntN(c.m.Stages[0].Tasks)}: true}
	}},
	{"failing hosts", func(c *scenario, rng *rand.Rand) { c.hostFailures = 0.05 }},
	{"cancel", func(c *scenario, rng *rand.Rand) { c.cancels, c.faults = true, []func(*sim){cancel} }},
	{"provenance", func(c *scenario, rng *rand.Rand) {
		c.m.Mode, c.repeat, c.loseAwards = protocol.Provenance, 0.2, 0.1
		c.faults = []func(*sim){hangs}
	}},
	{"everything", func(c *scenario, rng *rand.Rand) {
		// A partition or a hang keeps others from repairing what a lost disk held.
		c.joiners, c.hostFailures, c.keepDisks = rng.IntN(4), 0.01, true
		c.faults = []func(*sim){crashes, partition, oneWayCuts, hangs, join}
	}},
}

func newScenario(seed uint64) scenario {
	rng := rand.New(rand.NewPCG(seed, 7))
	c := scenario{
		seed: seed, size: 3 + rng.IntN(13), taskTime: time.Duration(50+rng.IntN(500)) * time.Millisecond,
		m: simManifest(1+rng.IntN(120), rng.IntN(5), rng.IntN(2) == 0), inline: rng.IntN(2) == 0,
		loss: 0.05, repeat: 0.05, delay: time.Duration(1+rng.IntN(30)) * time.Millisecond,
	}
	if rng.IntN(20) == 0 {
		c.size = 20 + rng.IntN(31)
	}
	class := classes[seed%uint64(len(classes))]
	c.class = class.name
	class.set(&c, rng)
	if c.class != "quiet" {
		c.skew, c.slow = rng.IntN(2) == 0, rng.IntN(3) == 0
		if rng.IntN(4) == 0 {
			c.loseAwards = 0.3
		}
	}
	if leaves := []int{protocol.ShardLeaves, 8, 64}[rng.IntN(3)]; c.leaves == 0 {
		c.leaves = leaves
	}
	c.limit = time.Minute + 4*c.span()
	if c.slow { // nobody runs again what a slow node has begun
		c.limit += 10 * (4*c.span() + time.Duration(len(c.m.Stages))*c.taskTime)
	}
	return c
}

// span is about how long the job takes when nothing happens: faults that come
// later find nothing to disturb.
func (c *scenario) span() time.Duration {
	return time.Second + c.taskTime*time.Duration(c.m.Tasks())/time.Duration(4*c.size)
}

func (s *sim) schedule() {
	for _, f := range s.faults {
		f(s)
	}
}

// healed notes that a fault will be over after d.
func (s *sim) healed(d time.Duration) {
	if at := s.now.Add(d); at.After(s.lastFault) {
		s.lastFault = at
	}
}

func (s *sim) anyNode() *simNode { return s.nodes[s.ids[s.rng.IntN(s.size)]] }

// crash ends a node, perhaps with its disk, and starts it again after a while,
// or never.
func (s *sim) crash(n *simNode, loseDisk bool, back time.Duration) {
	if !n.up {
		return
	}
	s.note("crash", n.id, loseDisk)
	n.up = false
	s.seen.losses = append(s.seen.losses, s.now)
	if loseDisk {
		n.disk = newDisk()
	}
	if back > 0 {
		s.after(back, func() { n.boot() })
	}
}

// repairWindow is how long it takes until others hold what a lost disk held:
// views are a second old, and digests go out when they change and every 5 s.
const repairWindow = 12 * time.Second

// crashes ends nodes for good or for a while: fewer than r in a repair window.
func crashes(s *sim) {
	at := s.upTo(s.span())
	for range 1 + s.rng.IntN(3) {
		for range 1 + s.rng.IntN(min(s.m.Copies, s.size)-1) {
			d, back, lose := at+s.upTo(2*time.Second), time.Duration(0), s.rng.IntN(2) == 0 && !s.keepDisks
			if s.rng.IntN(4) > 0 || s.size < 8 {
				back = time.Duration(1+s.rng.IntN(6000)) * time.Millisecond
			}
			s.healed(d + back)
			s.after(d, func() {
				n := s.anyNode()
				if s.rng.IntN(2) == 0 { // the stewards have most to lose
					n = s.nodes[Stewards(string(s.job), 0, s.m.Copies, s.live())[0]]
				}
				s.crash(n, lose, back)
			})
		}
		at += repairWindow + s.upTo(3*time.Second)
	}
}

// restarts ends nodes of a small mesh and starts them again with their disks.
func restarts(s *sim) {
	for range 1 + s.rng.IntN(4) {
		d, back := s.upTo(s.span()), time.Duration(1+s.rng.IntN(4000))*time.Millisecond
		s.healed(d + back)
		s.after(d, func() { s.crash(s.anyNode(), false, back) })
	}
}

// stewardsInTurn takes the first steward of the job, or of another shard, away,
// with its disk and for good, one after another, until as many are gone as first
// looked after it.
func stewardsInTurn(s *sim) {
	for i := range s.m.Copies + 1 {
		d := time.Duration(1+i*4)*time.Second + s.upTo(2*time.Second)
		s.healed(d)
		shard := s.rng.IntN(2) * s.rng.IntN(s.layout().Shards())
		s.after(d, func() { s.crash(s.nodes[Stewards(string(s.job), shard, 1, s.live())[0]], true, 0) })
	}
}

// allStewards takes all stewards of the job away at once, with their disks and
// for good, while others work: what those know must suffice.
func allStewards(s *sim) {
	d := time.Second + s.upTo(2*time.Second)
	s.healed(d)
	s.after(d, func() {
		for _, id := range Stewards(string(s.job), 0, s.m.Copies, s.live()) {
			s.crash(s.nodes[id], true, 0)
		}
	})
}

// partition splits the mesh in two and heals it.
func partition(s *sim) {
	for range 1 + s.rng.IntN(2) {
		d, lasts := s.upTo(s.span()), s.upTo(15*time.Second)
		s.healed(d + lasts)
		s.after(d, func() {
			s.note("partition")
			for _, id := range s.ids {
				s.net.side[id] = s.rng.IntN(2)
			}
		})
		s.after(d+lasts, func() { clear(s.net.side) })
	}
}

// oneWayCuts makes links carry nothing in one direction for a while.
func oneWayCuts(s *sim) {
	for range 1 + s.rng.IntN(2*s.size) {
		d, lasts := s.upTo(s.span()), s.upTo(10*time.Second)
		link := [2]peer.ID{s.anyNode().id, s.anyNode().id}
		s.healed(d + lasts)
		s.after(d, func() { s.net.cut[link] = true })
		s.after(d+lasts, func() { delete(s.net.cut, link) })
	}
}

// hangs stops nodes as SIGSTOP does, and lets them go on.
func hangs(s *sim) {
	for range 1 + s.rng.IntN(3) {
		d, lasts, n := s.upTo(s.span()), s.upTo(8*time.Second), s.anyNode()
		s.healed(d + lasts)
		s.after(d, func() {
			s.note("hang", n.id)
			n.hangs = s.now.Add(lasts)
		})
	}
}

// join starts nodes that were not there before, which changes who is steward.
func join(s *sim) {
	for _, id := range s.ids[s.size:] {
		d := s.upTo(s.span())
		s.healed(d)
		s.after(d, func() { s.nodes[id].boot() })
	}
}

// loseBlocks takes single results away from all that hold them.
func loseBlocks(s *sim) {
	for range 1 + s.rng.IntN(4) {
		d := s.upTo(s.span())
		s.healed(d)
		s.after(d, func() {
			k := protocol.Key{Stage: s.rng.IntN(len(s.m.Stages))}
			k.Index = s.rng.IntN(s.m.Stages[k.Stage].Tasks)
			s.each(up, func(n *simNode) {
				if n.plan != nil {
					c, _ := n.plan.Result(k)
					s.loseResult(c)
				}
			})
		})
	}
}

// loseTops takes results away that end a column and are still to be read.
func loseTops(s *sim) {
	for range 2 + s.rng.IntN(3) {
		d := s.upTo(2 * s.span())
		s.healed(d)
		s.after(d, func() {
			l, first := s.layout(), s.nodes[Stewards(string(s.job), 0, 1, s.live())[0]]
			for shard := 1; shard < l.Shards() && first.plan != nil; shard++ {
				k := l.tops(shard)[0]
				if c, _ := first.plan.Result(k); c.Defined() && len(first.plan.Ready(0, 1, func(protocol.Key) bool { return false })) == 0 {
					s.loseResult(c)
					return
				}
			}
		})
	}
}

// loseResult takes a result away from all that hold it.
func (s *sim) loseResult(c protocol.CID) {
	s.note("lost", c)
	s.seen.losses = append(s.seen.losses, s.now)
	for _, id := range s.ids {
		delete(s.nodes[id].disk.blocks, c)
	}
}

// cancel has some node that knows the job cancel it, perhaps as it ends.
func cancel(s *sim) {
	d := s.upTo(s.span())
	s.healed(d)
	s.after(d, func() {
		n := s.nodes[Stewards(string(s.job), 0, s.m.Copies, s.live())[0]]
		if n.plan != nil {
			s.seen.cancelled = true
			n.state(protocol.Fact{Kind: protocol.Cancelled})
		}
	})
}
