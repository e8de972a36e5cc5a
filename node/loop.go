package node

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// Rhythm and bounds of the loop.
const (
	// tickEvery is the loop's resolution of time while jobs run.
	tickEvery = 25 * time.Millisecond
	// restEvery is the same while none does.
	restEvery = time.Second
	// maxEvents bounds the events that wait for the loop; whoever brings one
	// more waits.
	maxEvents = 1024
	// tellFor is how long stewards are told of a job that has ended: one that
	// cannot keep it, for want of room, would be told for ever.
	tellFor = time.Minute
	// sourceEvery is how often an acting steward looks up who holds what the
	// first stage reads.
	sourceEvery = 10 * time.Second
	// maxJobs bounds the jobs that a node keeps in memory.
	maxJobs = 10000
)

// loop owns the state machines. Everything in it is touched by run's goroutine
// only; others hand it functions.
type loop struct {
	n      *Node
	events chan func(now time.Time)
	done   chan struct{} // closed when run has returned

	worker    *scheduler.Worker
	courier   *scheduler.Courier
	clock     *scheduler.Clock
	jobs      map[protocol.CID]*job
	running   map[protocol.CID]map[protocol.Key]context.CancelFunc
	nodes     []scheduler.Node
	turns     turns // of peers, to hand the loop what they say
	acks      acks
	replies   replies
	inbox     []protocol.Message // this node's messages to itself
	pinged    time.Time
	pingFrom  int       // the job, in the order of their IDs, with which the next round of pings begins
	refreshed time.Time // when nodes was last brought up to date
	load      [2]int
}

// job is what this node knows of a job.
type job struct {
	plan      *scheduler.Plan
	steward   *scheduler.Steward         // of the job shard
	stewards  map[int]*scheduler.Steward // of the shards that this node looks after
	ranks     *scheduler.Ranks
	unkept    bool      // something of its ledger could not be written to the disk
	announced time.Time // when its stewards were last told what is known here
	ended     bool      // its end has been acted upon
	endedAt   time.Time
	settling  map[int]bool // by shard
	checking  map[protocol.Key]bool
	sourced   time.Time // when holders of the inputs were last looked up
	sources   []peer.ID // who they are
}

func newLoop(n *Node) *loop {
	return &loop{
		n: n, events: make(chan func(time.Time), maxEvents), done: make(chan struct{}),
		worker: scheduler.NewWorker(n.cfg.Slots, n.cfg.Memory, randomSource()), courier: scheduler.NewCourier(rand.Uint64() >> 1), clock: scheduler.NewClock(),
		jobs: map[protocol.CID]*job{}, running: map[protocol.CID]map[protocol.Key]context.CancelFunc{},
	}
}

func randomSource() *rand.Rand { return rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())) }

// do hands the loop a function and waits until it has run; false when the loop
// or ctx has ended first.
func (l *loop) do(ctx context.Context, f func(now time.Time)) bool {
	ran := make(chan struct{})
	if !l.post(ctx, func(now time.Time) { f(now); close(ran) }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	}
}

// post hands the loop a function and does not wait for it.
func (l *loop) post(ctx context.Context, f func(now time.Time)) bool {
	select {
	case l.events <- f:
		return true
	case <-ctx.Done():
		return false
	case <-l.done:
		return false
	}
}

func (l *loop) run(ctx context.Context) {
	defer close(l.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	changed := l.n.mesh.Changed()
	for {
		select {
		case <-ctx.Done():
			l.stopAll()
			return
		case f := <-l.events:
			f(time.Now())
			l.drain(time.Now())
			continue
		case <-changed:
			changed = l.n.mesh.Changed()
			l.refresh(time.Now())
		case <-timer.C:
		}
		timer.Reset(l.tick(time.Now()))
	}
}

// drain handles what this node has sent to itself meanwhile.
func (l *loop) drain(now time.Time) {
	for len(l.inbox) > 0 {
		m := l.inbox[0]
		l.inbox = l.inbox[1:]
		l.handle(now, l.n.id, m)
	}
}

// tick does everything that time alone makes due and says when it wants to be
// called again.
func (l *loop) tick(now time.Time) time.Duration {
	active := false
	for _, id := range l.openIDs() {
		j := l.jobs[id]
		if j.ended {
			continue // since this tick began
		}
		active = true
		l.tickAll(now, j)
		if now.Sub(j.announced) >= protocol.DigestEvery {
			j.announced = now
			for _, shard := range j.plan.Awake() {
				l.announce(j, shard)
			}
		}
		if j.acting() && now.Sub(j.sourced) >= sourceEvery {
			l.source(now, j)
		}
	}
	if active {
		l.perform(now, l.worker.Tick(now, l.n.id, l.nodes, l.n.has()))
	}
	l.perform(now, l.courier.Tick(now, l.stewardsOf))
	if now.Sub(l.pinged) >= protocol.PingEvery {
		l.pinged = now
		l.ping()
		l.report()
	}
	if active && now.Sub(l.refreshed) >= restEvery {
		l.refresh(now)
	}
	l.acknowledge(now)
	l.drain(now)
	if active || len(l.acks.owed) > 0 || l.courier.Waiting() > 0 {
		return tickEvery
	}
	return restEvery
}

// source looks up who holds all that a job's first stage reads.
func (l *loop) source(now time.Time, j *job) {
	j.sourced = now
	roots := j.plan.Manifest.Closure()
	l.n.wg.Go(func() {
		found := l.n.findHolders(l.n.ctx, roots, l.n.mesh.Alive(), callWait)
		l.n.loop.post(l.n.ctx, func(time.Time) { j.setSources(found.ofAll(roots)) })
	})
}

func (l *loop) jobIDs() []protocol.CID { return slices.Sorted(maps.Keys(l.jobs)) }

// openIDs are the jobs that have not ended: few of those that are known, and
// each tick and each ping of a peer walks them.
func (l *loop) openIDs() []protocol.CID {
	var ids []protocol.CID
	for id, j := range l.jobs {
		if !j.ended {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (l *loop) stewardsOf(id protocol.CID, shard int) []peer.ID {
	j := l.jobs[id]
	if j == nil || j.ended && time.Since(j.endedAt) > tellFor {
		return nil
	}
	return j.stewardsOf(shard)
}

// refresh tells every running job's steward who lives and how loaded they
// say they are.
func (l *loop) refresh(now time.Time) {
	l.refreshed = now
	l.nodes = l.n.liveNodes()
	l.n.askAbilities(l.nodes)
	for _, id := range l.openIDs() {
		if j := l.jobs[id]; !j.ended {
			l.reseat(now, j)
		}
	}
}

// report lets others know how loaded this node is.
func (l *loop) report() {
	running, queued := l.worker.Load()
	if now := [2]int{running, queued}; now != l.load {
		l.load = now
		l.n.announceLoad(running, queued)
	}
}

func (l *loop) send(to peer.ID, m protocol.Message) {
	if to == l.n.id {
		l.inbox = append(l.inbox, m)
		return
	}
	l.n.wire.send(to, m)
}

// learn makes a job known here that is not. There is room for it.
func (l *loop) learn(now time.Time, id protocol.CID, m *protocol.Manifest) *job {
	if now.Sub(l.refreshed) >= restEvery {
		l.refresh(now)
	}
	j := l.newJob(now, id, m)
	l.jobs[id] = j
	return j
}

// room reports whether one more job can be kept in memory. It forgets the oldest
// ended one when there are too many, whose ledger stays on disk; one that has
// not ended is not given up for another.
func (l *loop) room() bool {
	if len(l.jobs) < maxJobs {
		return true
	}
	var oldest *job
	for _, id := range l.jobIDs() {
		if j := l.jobs[id]; j.ended && (oldest == nil || j.plan.Manifest.Created.Before(oldest.plan.Manifest.Created)) {
			oldest = j
		}
	}
	if oldest == nil {
		return false
	}
	delete(l.jobs, oldest.plan.Job)
	l.n.known.Delete(oldest.plan.Job)
	return true
}

// stopAll ends what runs here.
func (l *loop) stopAll() {
	for _, tasks := range l.running {
		for _, cancel := range tasks {
			cancel()
		}
	}
}
