package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Timing of a steward; what peers must agree on stands in protocol.
const (
	// takeoverWait is how long a new steward joins ledgers and collects
	// claims before it offers: one ping of everybody.
	takeoverWait = protocol.PingEvery + 50*time.Millisecond
	// bidWait is how long bids are awaited: twice a long round trip.
	bidWait = 150 * time.Millisecond
	// awardGrace is how long an award may take to show up as a claim.
	awardGrace = time.Second
	// idleWait is how long a node that refused, or was full, is not asked.
	idleWait = 50 * time.Millisecond
	// fullWait is for how long, at most, a node is not asked that was full.
	fullWait = time.Second
	// settleEvery is how often copies of the root are asked for again.
	settleEvery = 2 * time.Second
	// maxOffers bounds the offers that one steward has open for one job.
	maxOffers = 16
)

// Node is a live member as the steward sees it. Load is a hint.
type Node struct {
	ID    peer.ID
	Boot  uint64 // another one after each start
	Slots int
	Load  int // tasks running and queued
	Has   protocol.Needs
	// NoWork and NoStore say that the node's membership lacks these roles: it
	// runs no tasks, or is nobody's steward.
	NoWork, NoStore bool
}

// Can says what keeps the node from running a program, or "".
func (n *Node) Can(needs protocol.Needs) string {
	if n.NoWork {
		return "its membership lacks the role work"
	}
	for _, k := range needs.Kinds {
		if !slices.Contains(n.Has.Kinds, k) {
			if k == protocol.Exec {
				return "it does not allow exec (start it with --allow-exec)"
			}
			return fmt.Sprintf("it runs no %s programs", k)
		}
	}
	for _, f := range needs.Funcs {
		if !slices.Contains(n.Has.Funcs, f) {
			return fmt.Sprintf("it has no function %q registered", f)
		}
	}
	for _, l := range needs.Labels {
		if !slices.Contains(n.Has.Labels, l) {
			return fmt.Sprintf("it lacks the label %q (start it with --label)", l)
		}
	}
	switch {
	case needs.Cores > n.Has.Cores:
		return fmt.Sprintf("it has %d slots, the task takes %d", n.Has.Cores, needs.Cores)
	case needs.Memory > n.Has.Memory:
		return fmt.Sprintf("it gives tasks %d MiB of memory, the task takes %d MiB", n.Has.Memory>>20, needs.Memory>>20)
	}
	return ""
}

// NeedsOf is what a node must have to run tasks of a stage. What the job
// requires is for its programs: those that only join results need none of it.
func NeedsOf(m *protocol.Manifest, stage int) protocol.Needs {
	var n protocol.Needs
	s := m.Stages[stage]
	if s.Program != nil {
		n.Cores, n.Memory, n.Labels = m.Require.Cores, m.Require.Memory, m.Require.Labels
	}
	for _, p := range []*protocol.Program{s.Program, s.Combine} {
		if p == nil {
			continue
		}
		if !slices.Contains(n.Kinds, p.Kind) {
			n.Kinds = append(n.Kinds, p.Kind)
		}
		if p.Kind == protocol.Func && !slices.Contains(n.Funcs, p.Func) {
			n.Funcs = append(n.Funcs, p.Func)
		}
	}
	return n
}

// Steward offers the tasks of a job's shard and awards them to bidders, while
// this node is the first live one of the shard's stewards. It may be wrong about
// that: two stewards at once cost repeated work, nothing else.
type Steward struct {
	plan  *Plan
	shard int
	self  peer.ID
	rng   *rand.Rand

	nodes    []Node    // live, sorted by ID
	members  []peer.ID // those among them that may be stewards
	stewards []peer.ID
	ranked   time.Time // since when stewards is what it is
	heard    map[peer.ID]time.Time
	boots    map[peer.ID]uint64

	acting   bool
	since    time.Time // when acting began, plus the wait
	claims   map[protocol.Key]claim
	offers   map[uint64]*offer
	resting  map[peer.ID]time.Time // not asked before
	checked  map[protocol.Key]int  // failed runs of a task already looked into
	settled  time.Time
	waiting  string
	took     []durations // by stage
	lastFree peer.ID     // gave a receipt last: it has room
	sources  []peer.ID   // hold all that the first stage reads
	clock    *Clock      // for what is absolute; nil means that of now
	pace     pace

	back       map[protocol.Key]heldBack // tasks that could not read an input
	failedAt   map[protocol.Key]time.Time
	fewSince   time.Time              // since when fewer nodes live than the job was committed to
	dropped    map[peer.ID]int        // claims that a node lost before it began them, in a row
	second     map[protocol.Key]claim // of tasks that run on two nodes, the later one
	speculated time.Time              // when stragglers were last looked for
	story      story

	copied   bool             // what the root joins of the shard is held by enough nodes
	woken    time.Time        // when the stewards of other shards were last woken
	awake    map[int]bool     // shards woken since
	progress map[int]reported // of other shards
}

type claim struct {
	by        peer.ID
	boot      uint64    // with which it was heard to hold it; 0 before that
	from      []peer.ID // whose it was before it was stolen, or given up there
	until     time.Time
	awarded   time.Time
	predicted time.Duration // from the award to the end
	running   bool
	began     time.Time // when it was first heard to run
}

// NewSteward returns the steward of a shard of a plan's job on node self.
func NewSteward(plan *Plan, shard int, self peer.ID, rng *rand.Rand) *Steward {
	return &Steward{
		plan: plan, shard: shard, self: self, rng: rng, awake: map[int]bool{}, progress: map[int]reported{},
		heard: map[peer.ID]time.Time{}, boots: map[peer.ID]uint64{},
		claims: map[protocol.Key]claim{}, offers: map[uint64]*offer{},
		resting: map[peer.ID]time.Time{}, checked: map[protocol.Key]int{},
		took: make([]durations, len(plan.Manifest.Stages)), pace: pace{}, second: map[protocol.Key]claim{}, back: map[protocol.Key]heldBack{}, failedAt: map[protocol.Key]time.Time{}, dropped: map[peer.ID]int{},
	}
}

// Stewards are the shard's present stewards, in rank order.
func (s *Steward) Stewards() []peer.ID { return s.stewards }

// SetSources tells which nodes hold all that the first stage reads: a hint that
// travels with its tasks.
func (s *Steward) SetSources(ids []peer.ID) { s.sources = first(maxHolders, ids) }

// Acting reports whether this node offers the job's tasks now.
func (s *Steward) Acting() bool { return s.acting }

// Waiting says why nothing runs, or "".
func (s *Steward) Waiting() string { return s.waiting }

// SetNodes tells which nodes live. Those that no longer do lose their claims.
func (s *Steward) SetNodes(now time.Time, nodes []Node) []Effect {
	known := s.nodes
	started := map[peer.ID]uint64{} // anew, with that boot ID
	s.nodes = slices.Clone(nodes)
	slices.SortFunc(s.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	var ids []peer.ID
	joined, alive := false, make(map[peer.ID]bool, len(s.nodes))
	for _, n := range s.nodes {
		alive[n.ID] = true
		at, there := slices.BinarySearchFunc(known, n.ID, func(k Node, id peer.ID) int { return cmp.Compare(k.ID, id) })
		joined = joined || !there
		if there && known[at].Boot != n.Boot {
			started[n.ID] = n.Boot
		}
		if !n.NoStore {
			ids = append(ids, n.ID)
		}
	}
	if !slices.Equal(ids, s.members) { // ranking hashes all of them, and this is said every second
		s.members = ids
		if ranks := Stewards(string(s.plan.Job), s.shard, s.plan.Manifest.Copies, ids); !slices.Equal(ranks, s.stewards) {
			s.stewards, s.ranked = ranks, now
		}
	}
	if joined {
		clear(s.back) // it may have what was not to be had
	}
	s.countNodes(now)
	return append(
		s.free(now, func(_ protocol.Key, c claim) bool { return !alive[c.by] }, "its node is gone"),
		s.free(now, func(_ protocol.Key, c claim) bool {
			boot, anew := started[c.by]
			return anew && c.boot != boot && now.Sub(c.awarded) > awardGrace/2
		}, "its node was started anew")...)
}

// Involved are the nodes that hold or have done tasks of the job: they hear how
// it ended, and forget it.
func (s *Steward) Involved() []peer.ID {
	out := slices.Sorted(maps.Keys(s.plan.Ledger.workers()))
	for _, claims := range []map[protocol.Key]claim{s.claims, s.second} {
		for _, k := range sortedKeys(claims) {
			if by := claims[k].by; !slices.Contains(out, by) {
				out = append(out, by)
			}
		}
	}
	return out
}

func sortedKeys[V any](m map[protocol.Key]V) []protocol.Key {
	keys := make([]protocol.Key, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, protocol.Key.Compare)
	return keys
}

// Fellow notes a ping of another steward that knows the job.
func (s *Steward) Fellow(now time.Time, from peer.ID) { s.heard[from] = now }

// Pinged takes a ping: its sender lives, and these are the tasks it holds.
// Whatever was awarded to it and is not among them is free again, after a
// moment for the award to arrive; at once when the node has forgotten it all.
func (s *Steward) Pinged(now time.Time, from peer.ID, boot uint64, held []protocol.Key, running int) []Effect {
	restarted := s.boots[from] != 0 && s.boots[from] != boot
	s.boots[from] = boot
	holds := make(map[protocol.Key]bool, len(held))
	for i, k := range held {
		if !s.plan.Layout.Names(k) || s.plan.Layout.ShardOf(k) != s.shard {
			continue
		}
		holds[k] = true
		s.claimedBy(now, from, boot, k, i < running)
	}
	return s.free(now, func(k protocol.Key, c claim) bool {
		return c.by == from && !holds[k] && (restarted || now.Sub(c.awarded) > awardGrace)
	}, "its node no longer holds it")
}

// claimedBy notes that a node holds task k: as the one that is waited for or,
// when another is, beside it.
func (s *Steward) claimedBy(now time.Time, from peer.ID, boot uint64, k protocol.Key, running bool) {
	claims := s.claims
	if c, known := s.claims[k]; known && c.by != from && c.until.After(now) {
		if slices.Contains(c.from, from) {
			return // it was stolen, and its victim claims it for a moment more; or it is stuck there
		}
		claims = s.second
		if c, known := s.second[k]; known && c.by != from && c.until.After(now) {
			return // a third
		}
	}
	c := claims[k]
	if c.by != from {
		c = claim{by: from}
	}
	c.until, c.boot = now.Add(protocol.ClaimTTL), boot
	if running && !c.running {
		c.running, c.began = true, now
		s.noteStart(now, k, from)
	}
	claims[k] = c
	if s.second[k].by == s.claims[k].by {
		delete(s.second, k)
	}
}

// Stolen notes that a node has taken tasks from another's queue.
func (s *Steward) Stolen(now time.Time, by peer.ID, m *protocol.Stolen) {
	for _, k := range m.Tasks {
		if !s.plan.Layout.Names(k) || s.plan.Layout.ShardOf(k) != s.shard || s.plan.isDone(k) {
			continue
		}
		if c, held := s.claims[k]; held && c.by != m.From {
			continue
		}
		from := append(first(maxHolders, s.claims[k].from), m.From)
		s.claims[k] = claim{by: by, from: from, until: now.Add(protocol.ClaimTTL), awarded: now}
		s.story.note(now, protocol.Event{Kind: protocol.EventStolen, Tasks: []protocol.Key{k}, Peer: by, Peers: []peer.ID{m.From}})
	}
}

// Received notes a receipt that has just entered the ledger: its task's claim
// is served, its worker has room, and who else runs the task may stop.
func (s *Steward) Received(now time.Time, r *protocol.Receipt) []Effect {
	for _, claims := range []map[protocol.Key]claim{s.claims, s.second} {
		if c, held := claims[r.Task]; held && c.by == r.Worker {
			if !c.awarded.IsZero() {
				s.pace.note(r.Worker, c.predicted, now.Sub(c.awarded))
			}
			delete(claims, r.Task)
		}
	}
	s.copied = false
	s.story.note(now, protocol.Event{Kind: protocol.EventDone, Tasks: []protocol.Key{r.Task}, Peer: r.Worker, Took: r.Took})
	s.took[r.Task.Stage].add(r.Took)
	delete(s.resting, r.Worker)
	delete(s.dropped, r.Worker)
	s.lastFree = r.Worker
	return s.release(now, r)
}

// FailedRun notes a failed run that has just entered the ledger.
func (s *Steward) FailedRun(now time.Time, by peer.ID, run *protocol.Failure) {
	s.failedAt[run.Task] = now
	if run.Kind == protocol.FailInput {
		s.holdBack(now, run)
	}
	s.story.note(now, protocol.Event{Kind: protocol.EventFailed, Tasks: []protocol.Key{run.Task}, Peer: by, Text: run.Text[:min(len(run.Text), protocol.MaxName)]})
	for _, claims := range []map[protocol.Key]claim{s.claims, s.second} {
		if claims[run.Task].by == by {
			delete(claims, run.Task)
		}
	}
	s.promote()
}

// Tick does what is due: it takes over or stands back, closes offers, judges
// failures, settles the root, and offers what is ready.
func (s *Steward) Tick(now time.Time) []Effect {
	if s.Over() {
		return s.rest(now)
	}
	out := s.takeTurn(now)
	if !s.acting || now.Before(s.since) || s.plan.Ledger.Fact(protocol.Committed) == nil {
		return out
	}
	if s.plan.Ended() != nil {
		s.waiting = ""
		s.story.shorten()
		return append(out, s.dropOffers()...)
	}
	if effects := s.judge(now); effects != nil {
		return append(out, effects...)
	}
	out = append(out, s.wake(now)...)
	if s.plan.complete(s.shard) {
		return append(out, s.settle(now)...)
	}
	s.copied = false
	out = append(out, s.free(now, func(_ protocol.Key, c claim) bool { return !c.until.After(now) }, "its node fell silent")...)
	out = append(out, s.lookInto()...)
	out = append(out, s.closeOffers(now)...)
	out = append(out, s.offerReady(now)...)
	return append(out, s.speculate(now)...)
}

// takeTurn decides whether this node acts: when every steward that ranks
// before it has been silent for the rank wait.
func (s *Steward) takeTurn(now time.Time) []Effect {
	me := slices.Index(s.stewards, s.self)
	turn := me >= 0
	for _, before := range first(max(me, 0), s.stewards) {
		last := s.heard[before]
		if last.Before(s.ranked) {
			last = s.ranked
		}
		turn = turn && now.Sub(last) >= protocol.RankWait
	}
	if turn == s.acting {
		return nil
	}
	s.acting = turn
	if !turn {
		s.story.note(now, protocol.Event{Kind: protocol.EventSteward, Peer: s.self, Text: "stands back: a steward of higher rank is heard"})
		return append(s.dropOffers(), Noted{Job: s.plan.Job, What: "stewardship given up", Peer: s.self})
	}
	s.story.note(now, protocol.Event{Kind: protocol.EventSteward, Peer: s.self, Text: "offers the tasks from now on"})
	s.since, s.woken = now.Add(takeoverWait), time.Time{}
	out := []Effect{Noted{Job: s.plan.Job, What: "stewardship taken up", Peer: s.self}}
	for _, id := range s.stewards {
		if id != s.self {
			out = append(out, Send{To: id, Message: s.plan.Ledger.Announce(s.shard, true, true)})
		}
	}
	return out
}

// Begin lets a steward offer without the wait of a takeover: the job was
// committed just now, so there is nothing to collect.
func (s *Steward) Begin(now time.Time) []Effect {
	out := s.takeTurn(now)
	s.since = now
	return append(out, s.Tick(now)...)
}

// judge looks for what makes the job fail.
func (s *Steward) judge(now time.Time) []Effect {
	if until := s.plan.Manifest.RunUntil; s.shard == 0 && s.overdue(now) {
		return []Effect{Conclude{Job: s.plan.Job, Text: fmt.Sprintf("the job did not end by %s, when its manifest says it must", until.Format(time.RFC3339))}}
	}
	if s.cutOff(now) {
		return nil
	}
	if text := s.hung(); text != "" {
		return []Effect{Conclude{Job: s.plan.Job, Text: text}}
	}
	for _, k := range s.plan.Ledger.facts.failedTasks(s.shard) {
		if r, _ := s.plan.Result(k); r == "" {
			if text := s.verdict(k); text != "" {
				return []Effect{Conclude{Job: s.plan.Job, Text: text}}
			}
		}
	}
	return nil
}

// verdict says why task k makes the job fail, or "". A failure is the
// program's own when two nodes saw the same, or the only one that can run it.
func (s *Steward) verdict(k protocol.Key) string {
	failures := s.plan.Ledger.Failures(k)
	if digest, known := s.plan.InputsDigest(k); known { // of other inputs, nothing follows
		failures = slices.DeleteFunc(failures, func(f *protocol.Fact) bool { return f.Run.Inputs != digest })
	}
	seen := map[string]map[peer.ID]bool{}
	host, last := 0, (*protocol.Fact)(nil)
	for _, f := range failures {
		if !f.Run.Kind.Deterministic() {
			if f.Run.Kind == protocol.FailHost {
				host, last = host+1, f
			}
			continue
		}
		evidence := fmt.Sprint(f.Run.Kind, f.Run.Code)
		if seen[evidence] == nil {
			seen[evidence] = map[peer.ID]bool{}
		}
		seen[evidence][f.By] = true
		if len(seen[evidence]) >= min(2, max(1, len(s.capable(k.Stage)))) {
			return s.report(k, f)
		}
	}
	if host >= s.plan.Manifest.Policy.WithDefaults().Retries {
		return s.report(k, last)
	}
	return ""
}

func (s *Steward) report(k protocol.Key, f *protocol.Fact) string {
	stage := s.plan.Manifest.Stages[k.Stage]
	why := strings.TrimPrefix(f.Run.Text, fmt.Sprintf("%s task %s: ", stage.Kind, k)) // a run names its task too
	text := fmt.Sprintf("task %s of stage %q failed on node %s: %s", k, stage.Name, f.By, why)
	if len(f.Run.Tail) > 0 {
		text += "\n" + string(f.Run.Tail)
	}
	return text[:min(len(text), protocol.MaxText)]
}

// lookInto asks, once for each failed run that could not read an input, which
// of the inputs are lost.
func (s *Steward) lookInto() []Effect {
	var out []Effect
	for _, k := range s.plan.Ledger.facts.failedTasks(s.shard) {
		n := 0
		for _, f := range s.plan.Ledger.Failures(k) {
			if f.Run.Kind == protocol.FailInput {
				n++
			}
		}
		if n <= s.checked[k] {
			continue
		}
		s.checked[k] = n
		check := Check{Job: s.plan.Job, Shard: s.shard, Task: k}
		from, count := dependencies(s.plan.Manifest, k)
		for i := range count {
			check.Deps = append(check.Deps, protocol.Key{Stage: k.Stage - 1, Index: from + i})
		}
		if count > 0 {
			out = append(out, check)
		}
	}
	return out
}
