package scheduler

import (
	"container/heap"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// sim runs the machines of several nodes over one job in virtual time, on a
// network and on nodes that fail as its scenario says. Signatures are left out:
// they are protocol's business. What the checkers need is written down as it
// happens; the checkers themselves stand in check_test.go.
type sim struct {
	scenario
	rng   *rand.Rand
	start time.Time
	now   time.Time
	queue events
	seq   int
	nodes map[peer.ID]*simNode
	ids   []peer.ID // of all nodes, those that have not joined yet among them
	job   protocol.CID
	net   network
	opens map[string]any                  // what is signed, decoded once
	links map[protocol.CID][]protocol.CID // of results that join those of their column
	dags  map[protocol.CID][]protocol.CID // of roots: all that they join

	life      *life     // of a job that is submitted, kept and forgotten; nil where it is just there
	lastFault time.Time // when the last fault was healed
	seen      journal
	trace     uint64
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

func newSim(c scenario) *sim {
	s := &sim{
		scenario: c, rng: rand.New(rand.NewPCG(c.seed, 1)), start: time.Unix(1e9, 0), nodes: map[peer.ID]*simNode{},
		job: protocol.NewCID(protocol.CodecDagCBOR, []byte(fmt.Sprint(c.seed))), opens: map[string]any{}, links: map[protocol.CID][]protocol.CID{}, dags: map[protocol.CID][]protocol.CID{},
		net: network{side: map[peer.ID]int{}, cut: map[[2]peer.ID]bool{}}, seen: newJournal(),
	}
	s.now, s.lastFault = s.start, s.start
	for i := range c.size + c.joiners {
		id := peer.ID(fmt.Sprintf("\x00\x02%02d", i)) // an identity multihash
		n := &simNode{s: s, id: id, index: i, speed: 1, disk: newDisk()}
		if c.skew {
			n.offset = time.Duration(s.rng.Int64N(int64(time.Minute))) - 30*time.Second
			n.drift = (s.rng.Float64() - 0.5) / 100
		}
		if c.slow && s.rng.IntN(5) == 0 {
			n.speed = 10
		}
		s.nodes[id], s.ids = n, append(s.ids, id)
	}
	if c.whole {
		s.life = newLife(s)
	}
	for _, id := range s.ids[:c.size] {
		s.nodes[id].boot()
	}
	if c.whole {
		s.life.begin()
	} else {
		s.commit()
	}
	return s
}

// commit makes the job known to its stewards, as a submission does.
func (s *sim) commit() {
	fact := protocol.Fact{Job: s.job, Kind: protocol.Committed, By: s.ids[0], At: s.now, Copies: min(s.m.Copies, s.size)}
	signed := protocol.Signed{Body: protocol.Encode(fact)}
	for _, id := range Stewards(string(s.job), 0, s.m.Copies, s.ids[:s.size]) {
		n := s.nodes[id]
		n.know()
		n.add(nil, []protocol.Signed{signed})
		n.perform(n.steward(0).Begin(n.now()))
	}
}

// pop takes the next event.
func (s *sim) pop() event { return heap.Pop(&s.queue).(event) }

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{s.now.Add(d), s.seq, do})
}

// upTo draws a duration below d.
func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(d))) }

// note adds to the trace, which must be the same whenever a seed is run.
func (s *sim) note(parts ...any) {
	h := fnv.New64a()
	h.Write(binary.LittleEndian.AppendUint64(nil, s.trace))
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(s.now.UnixNano())))
	fmt.Fprint(h, parts...)
	s.trace = h.Sum64()
}

func (s *sim) each(match func(*simNode) bool, f func(*simNode)) {
	for _, id := range s.ids {
		if n := s.nodes[id]; match(n) {
			f(n)
		}
	}
}

func up(n *simNode) bool { return n.up }

func (s *sim) live() []peer.ID {
	var out []peer.ID
	s.each(up, func(n *simNode) { out = append(out, n.id) })
	return out
}

// lookEvery is after how many events the simulator looks whether the job is
// over: to look costs more than an event.
const lookEvery = 64

// run lets time pass until all live stewards know the same end, or the job is
// overdue. It returns the first thing that a checker objects to.
func (s *sim) run() error {
	s.schedule()
	handled := 0
	for s.queue.Len() > 0 {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		if s.now.After(s.lastFault.Add(s.limit)) {
			return fmt.Errorf("L1: no end within %s of the last fault: %s", s.limit, s.describe())
		}
		e.do()
		if s.seen.broken != nil {
			return s.seen.broken
		}
		if handled++; handled%lookEvery == 0 && s.over() {
			break
		}
	}
	return s.check()
}

// over reports whether all live stewards that know the job agree how it has
// ended. A node that hangs is waited for. One that came, or came back with
// nothing, when it was over hears of the job only when it asks.
func (s *sim) over() bool {
	kinds := map[protocol.FactKind]bool{}
	for _, id := range Stewards(string(s.job), 0, s.m.Copies, s.live()) {
		n := s.nodes[id]
		if n.hung() || n.plan != nil && n.plan.Ended() == nil {
			return false
		}
		if n.plan == nil {
			continue
		}
		kinds[n.plan.Ended().Kind] = true
	}
	if len(kinds) == 0 { // all that looked after it are gone: others remember
		s.each(up, func(n *simNode) {
			if n.plan != nil && n.plan.Ended() != nil {
				kinds[n.plan.Ended().Kind] = true
			}
		})
	}
	acting := false // for another shard, of which the end has not been heard
	s.each(up, func(n *simNode) {
		if n.plan != nil && n.plan.Ended() == nil {
			n.eachSteward(func(st *Steward) { acting = acting || st.Acting() })
		}
	})
	return len(kinds) == 1 && !acting && (!s.cancels || s.now.After(s.lastFault))
}

func (s *sim) describe() string {
	text := ""
	s.each(up, func(n *simNode) {
		if n.plan == nil {
			return
		}
		text += fmt.Sprintf("\n  %x done=%d/%d committed=%v ended=%v", n.id[2:], n.plan.Done(), s.m.Tasks(), n.plan.Ledger.Fact(protocol.Committed) != nil, n.plan.Ended() != nil)
		n.eachSteward(func(st *Steward) {
			text += fmt.Sprintf("\n    shard %d acting=%v done=%d/%d lost=%d claims=%d offers=%d waiting=%q", st.shard, st.Acting(), n.plan.ShardDone(st.shard), n.plan.Layout.Tasks(st.shard), n.plan.lost[st.shard], len(st.claims), len(st.offers), st.Waiting())
		})
	})
	return text
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

// within reports whether list names id.
func within(list []peer.ID, id peer.ID) bool { return slices.Contains(list, id) }
