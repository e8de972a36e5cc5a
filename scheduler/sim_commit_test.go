package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// life is that of a whole job: a node submits it, stewards commit it, it ends,
// what it references is released, its time runs out and it is forgotten.
type life struct {
	s         *sim
	submitter *simNode
	closure   []protocol.CID
	given     bool // the submitter was told that the job is committed
	tries     int
	working   int // submissions and commits under way
	began     time.Time
	committed time.Time   // first by anybody
	copies    int         // with how many, the fewest stated
	since     time.Time   // when the first commit that may still succeed began
	drops     []time.Time // of inputs
}

func newLife(s *sim) *life {
	l := &life{s: s, submitter: s.nodes[s.ids[s.rng.IntN(s.size)]]}
	for i := range 2 {
		l.closure = append(l.closure, protocol.NewCID(protocol.CodecRaw, []byte{byte(i)}))
	}
	l.closure = append(l.closure, s.m.Splits)
	s.m.Created = s.start
	s.m.RunUntil, s.m.KeepUntil = s.start.Add(time.Hour), s.start.Add(2*time.Hour)
	return l
}

func (l *life) begin() {
	for _, c := range l.closure {
		l.submitter.disk.blocks[c] = true
	}
	l.submitter.disk.blocks[l.s.job] = true
	l.began = l.s.now
	l.s.each(up, (*simNode).look)
	l.submitter.submit()
}

// maySpare reports whether one more node may fail: as many as like before a
// commit begins, then fewer than there are copies in a repair window.
func (l *life) maySpare() bool {
	switch {
	case l.committed.IsZero() && l.working == 0:
		return true
	case l.committed.IsZero():
		return l.s.seen.lossesSince(l.since) < 1
	}
	recent := l.s.now.Add(-repairWindow)
	if recent.Before(l.since) {
		recent = l.since
	}
	return l.s.seen.lossesSince(recent) < l.copies-1
}

// maxSubmissions is how often a submitter tries.
const maxSubmissions = 20

// submit spreads what the job needs and hands it to its stewards, until one has
// committed it.
func (n *simNode) submit() {
	l := n.s.life
	if l.given || l.tries == maxSubmissions {
		return
	}
	l.tries++
	again := func() { n.later(300*time.Millisecond, n.submit) }
	spread := NewPlacement(string(n.s.m.Splits), l.closure, n.s.m.Copies, n.view, n.view)
	n.pursue(spread, n.carryBlocks(nil), func() {
		if r := spread.Result(); !r.Enough() {
			again()
			return
		}
		h := NewHedge(1, Rank(string(n.s.job), n.view), len(n.view))
		n.pursue(simTurns{h}, n.carrySubmit, func() {
			l.given = len(h.Did()) > 0
			again()
		})
	})
}

// simTurns asks one node after another.
type simTurns struct{ *Hedge }

func (t simTurns) Tick(now time.Time) []Effect {
	var out []Effect
	for _, id := range t.Hedge.Tick(now) {
		out = append(out, Ask{To: id, Question: AskHold})
	}
	return out
}

func (t simTurns) SetNodes(now time.Time, _ []peer.ID) []Effect { return nil }

func (t simTurns) Answered(now time.Time, r Reply) []Effect {
	t.Hedge.Answered(r.Ask.To, r.why())
	return t.Tick(now)
}

// carrySubmit has a node commit the job.
func (n *simNode) carrySubmit(x *simNode, a Ask, answer func(Reply)) {
	s := n.s
	if x.lifeOver() {
		answer(Reply{Refused: "it had to run until then"})
		return
	}
	x.disk.blocks[s.job] = true
	c := NewCommit(s.job, s.life.closure, s.m.Copies, x.id, x.view, x.view)
	s.life.commitBegins(x)
	round, verified := 0, s.now // when the first was asked in the last round
	var fact protocol.Signed
	sign := func() {
		fact = protocol.Signed{Body: protocol.Encode(protocol.Fact{Job: s.job, Kind: protocol.Committed, By: x.id, At: x.now(), Copies: c.Copies()})}
	}
	x.mutateCommit(c)
	x.pursue(c, func(y *simNode, a Ask, answer func(Reply)) {
		x.mutateCommit(c)
		switch a.Question {
		case AskHeld:
			if a.Round > max(1, round) {
				round, verified = a.Round, s.now
			}
			x.carryBlocks(nil)(y, a, answer)
		case AskKeep:
			y.disk.blocks[s.job] = true
			answer(Reply{})
		case AskCommit:
			if fact.Body == nil {
				sign()
			}
			y.disk.blocks[s.job] = true
			if y.know(); y.plan == nil {
				answer(Reply{Refused: "expired"})
				return
			}
			y.add(nil, []protocol.Signed{fact})
			answer(Reply{})
		default:
			x.carryBlocks(nil)(y, a, answer)
		}
	}, func() {
		s.life.working--
		if c.Failed() != "" || x.lifeOver() {
			answer(Reply{Refused: c.Failed() + " expired?"})
			return
		}
		if fact.Body == nil {
			sign()
		}
		s.seen.commits(x, c, verified)
		x.know()
		x.add(nil, []protocol.Signed{fact})
		x.perform(x.steward(0).Begin(x.now()))
		answer(Reply{})
	})
}

// commitBegins notes that a steward works at the commit: until it has ended, or
// its node, losses count.
func (l *life) commitBegins(x *simNode) {
	if l.working == 0 && l.committed.IsZero() {
		l.since = l.s.now
	}
	l.working++
	starts := x.starts
	l.s.after(10*time.Second, func() {
		if x.starts != starts || !x.up {
			l.working-- // it died over it
		}
	})
}

// unreadable is why a first task cannot run, if that is so.
func (n *simNode) unreadable() *protocol.Failure {
	for _, c := range n.s.life.closure {
		if len(n.holders(c)) == 0 {
			return &protocol.Failure{Kind: protocol.FailInput, Lost: c}
		}
	}
	return nil
}

// lifeOver reports whether the node takes the job's time to be over.
func (n *simNode) lifeOver() bool {
	return n.s.life != nil && n.s.mutation != noExpiry && LifeOf(n.s.m, n.clock.Now(n.now())) >= Expired
}

// sweep asks all what time it is, and forgets the job when its time has come.
func (n *simNode) sweep() {
	n.clock.SetPeers(len(n.view) - 1)
	for _, id := range n.view {
		if x := n.s.nodes[id]; x != n && n.s.talks(n.id, id) {
			n.clock.Heard(n.now(), id, x.now().Add(x.lies))
		}
	}
	switch life := LifeOf(n.s.m, n.clock.Now(n.now())); {
	case n.s.mutation == noExpiry:
	case life == Forgotten && n.plan != nil || life == Forgotten && len(n.disk.receipts)+len(n.disk.facts) > 0:
		if n.plan != nil {
			n.perform(n.worker.Drop(n.s.job))
		}
		n.plan, n.stewards, n.ended = nil, nil, false
		n.disk.receipts, n.disk.facts, n.disk.has, n.disk.forgot = nil, nil, map[string]bool{}, true
	}
}

// release drops what the job referenced, when that may be.
func (n *simNode) release() {
	s := n.s
	if n.plan == nil || n.lifeOver() || !n.disk.blocks[s.life.closure[0]] {
		return
	}
	drop := func() {
		if n.plan != nil && n.disk.blocks[s.life.closure[0]] {
			s.seen.drops(n)
			s.life.drops = append(s.life.drops, s.now)
			for _, c := range s.life.closure {
				delete(n.disk.blocks, c)
			}
		}
	}
	if n.mutateRelease(drop) {
		return
	}
	r := NewRelease(n.now(), n.clock.Now(n.now()), n.plan, n.members())
	n.pursue(r, n.carryBlocks(map[protocol.CID]protocol.SignedReceipt{}), func() {
		if r.Failed() == "" {
			drop()
		}
	})
}

// members are all nodes as this one remembers them: those out of reach were seen
// not long ago.
func (n *simNode) members() []Member {
	var out []Member
	for _, id := range n.s.ids[:n.s.size] {
		out = append(out, Member{ID: id, Alive: within(n.view, id), Seen: n.now()})
	}
	return out
}

// warp lets days pass at once: whatever was on its way comes late.
func (s *sim) warp(to time.Time) {
	d := to.Sub(s.now)
	for i := range s.queue {
		s.queue[i].at = s.queue[i].at.Add(d)
	}
	s.each(up, func(n *simNode) {
		if n.hung() {
			n.hangs = n.hangs.Add(d)
		}
	})
	s.now = to
	s.lastFault = s.lastFault.Add(d)
}

// ended reports whether the job, if it was ever committed, has ended for all
// live nodes that look after it, and whether nobody tries any more if not.
func (l *life) ended() bool {
	s := l.s
	if l.working > 0 || s.now.Before(s.lastFault) {
		return false
	}
	known := slices.ContainsFunc(s.live(), func(id peer.ID) bool { return s.nodes[id].plan != nil })
	if !known && !l.given {
		return !l.submitter.up || l.tries == maxSubmissions
	}
	if l.committed.IsZero() && known && !l.submitter.up && s.now.After(s.lastFault.Add(s.limit/2)) {
		return true // some were told, nobody was promised: it may run or not
	}
	return s.over()
}

// runLife lets a job be submitted and end, and then its time run out.
func (s *sim) runLife() error {
	s.schedule()
	if err := s.pass(s.life.ended, s.limit); err != nil {
		return err
	}
	if err := s.checkLife(); err != nil {
		return err
	}
	for range 2 { // time for releases
		at := s.now.Add(3 * time.Second)
		if err := s.pass(func() bool { return s.now.After(at) }, s.limit); err != nil {
			return err
		}
	}
	for _, to := range []time.Duration{maxSkew + time.Second, forgetAfter + maxSkew + time.Second} {
		s.warp(s.m.KeepUntil.Add(to))
		for _, id := range s.ids { // those that were away come back with what they had
			if n := s.nodes[id]; !n.up {
				n.boot()
			}
		}
		at := s.now.Add(15 * time.Second)
		if err := s.pass(func() bool { return s.now.After(at) }, time.Hour); err != nil {
			return err
		}
	}
	return s.checkForgotten()
}

// pass handles events until it is enough.
func (s *sim) pass(enough func() bool, limit time.Duration) error {
	for handled := 1; s.queue.Len() > 0; handled++ {
		e := s.pop()
		s.now = e.at
		if s.now.After(s.lastFault.Add(limit)) {
			return fmt.Errorf("L1: no end within %s of the last fault, committed %v: %s", limit, !s.life.committed.IsZero(), s.describe())
		}
		e.do()
		if s.seen.broken != nil {
			return s.seen.broken
		}
		if handled%lookEvery == 0 && enough() {
			return nil
		}
	}
	return nil
}
