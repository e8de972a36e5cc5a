package scheduler

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// journal is what has really happened, as nobody in the mesh knows it. The
// checkers compare it with what the nodes believe.
type journal struct {
	broken    error // what was objected to first
	starts    int
	ran       map[string]bool // receipts of runs that did end, by their bytes
	failures  int
	excuses   int // events after which a task may run once more
	thefts    int
	backups   int // of tasks that are too slow
	awarder   map[protocol.Key]string
	posts     map[post]time.Time // when first sent
	arrivals  map[post]time.Time
	cancelled bool
	losses    []time.Time // when a node, its disk or a block was lost
}

// lossesSince counts what was lost from then on.
func (j *journal) lossesSince(at time.Time) int {
	n := 0
	for _, l := range j.losses {
		if !l.Before(at) {
			n++
		}
	}
	return n
}

// post is one numbered message from one boot of a node to another node.
type post struct {
	from   peer.ID
	starts uint64
	to     peer.ID
	number uint64
}

func newJournal() journal {
	return journal{ran: map[string]bool{}, awarder: map[protocol.Key]string{}, posts: map[post]time.Time{}, arrivals: map[post]time.Time{}}
}

func (j *journal) object(format string, args ...any) {
	if j.broken == nil {
		j.broken = fmt.Errorf(format, args...)
	}
}

func (j *journal) started(n *simNode, k protocol.Key) { j.starts++ }

func (j *journal) failed(n *simNode, k protocol.Key, f *protocol.Failure) {
	j.failures++
	j.excuses++
}

func (j *journal) posted(s *sim, n *simNode, to peer.ID, d *protocol.Done) {
	p := post{n.id, n.starts, to, d.Number}
	if _, before := j.posts[p]; !before {
		j.posts[p] = s.now
	}
}

func (j *journal) arrived(s *sim, n *simNode, from peer.ID, d *protocol.Done) {
	p := post{from, s.nodes[from].starts, n.id, d.Number}
	if _, before := j.arrivals[p]; !before {
		j.arrivals[p] = s.now
	}
}

// awarded checks that a steward gives away nothing that it knows to be done,
// and excuses what another steward, or an earlier boot of it, had given away.
func (j *journal) awarded(n *simNode, a *protocol.Award) {
	who := fmt.Sprint(n.id, n.starts)
	for _, t := range a.Tasks {
		if r, _ := n.plan.Result(t.Task); r != "" && !n.plan.tasks.get(t.Task).lost {
			j.object("I10: node %s awards task %s, which it knows to be done", n.id, t.Task)
		}
		if last := j.awarder[t.Task]; last != "" && last != who {
			j.excuses++
		}
		j.awarder[t.Task] = who
	}
}

// reserved checks I11 after a bid: every reservation ends, soon, and those that
// have ended are gone.
func (j *journal) reserved(n *simNode) {
	for id, r := range n.worker.reserved {
		if left := r.until.Sub(n.now()); left <= 0 || left > bidTTL {
			j.object("I11: node %s keeps reservation %v for another %s", n.id, id, left)
		}
	}
}

// finals checks R5 when a node states the job final: enough nodes that are up
// hold every block. What was lost while they were asked is excused.
func (j *journal) finals(n *simNode, parts []protocol.CID, copies int) {
	excused := j.lossesSince(n.s.now.Add(-deafAfter))
	for _, c := range parts {
		held := 0
		n.s.each(up, func(x *simNode) {
			if x.disk.blocks[c] {
				held++
			}
		})
		if held+excused < copies {
			j.object("R5: node %s states the job final with %d of %d copies of %s", n.id, held, copies, c)
		}
	}
}

// check holds a finished run against the invariants.
func (s *sim) check() error {
	for _, c := range []func() error{s.checkLedgers, s.checkJoin, s.checkEnd, s.checkExecutions, s.checkPosts} {
		if err := c(); err != nil {
			return err
		}
	}
	return nil
}

// checkLedgers holds every ledger to be a set of ends of runs (I7), to be what
// the disk has, and every plan to depend on its ledger alone (R8).
func (s *sim) checkLedgers() error {
	var broken error
	s.each(up, func(n *simNode) {
		if n.plan == nil || broken != nil {
			return
		}
		receipts, facts := n.plan.Ledger.Everything()
		if !same(s.derive(n.disk.receipts, n.disk.facts).Ledger, n.plan.Ledger) {
			broken = fmt.Errorf("node %s: the disk and the ledger differ", n.id)
		}
		for _, r := range receipts {
			if !s.seen.ran[string(r.Body)] {
				broken = fmt.Errorf("I7: node %s has a receipt of task %s that no run gave", n.id, opened[protocol.Receipt](s, r.Body).Task)
			}
		}
		again := s.derive(receipts, facts)
		if again.Done() != n.plan.Done() || !reflect.DeepEqual(results(again), results(n.plan)) {
			broken = fmt.Errorf("R8: node %s believes in %d done tasks and root %s, its ledger says %d and %s", n.id, n.plan.Done(), n.plan.Root(), again.Done(), again.Root())
		}
	})
	return broken
}

func results(p *Plan) [][]protocol.CID {
	out := make([][]protocol.CID, len(p.Manifest.Stages))
	for s, stage := range p.Manifest.Stages {
		for i := range stage.Tasks {
			out[s] = append(out[s], p.tasks.get(protocol.Key{Stage: s, Index: i}).result)
		}
	}
	return out
}

func (s *sim) derive(receipts []protocol.SignedReceipt, facts []protocol.Signed) *Plan {
	p := s.newPlan()
	for _, r := range receipts {
		p.AddReceipt(r, opened[protocol.Receipt](s, r.Body))
	}
	for _, f := range facts {
		p.AddFact(f, opened[protocol.Fact](s, f.Body))
	}
	return p
}

// union are the receipts and facts of all live nodes, each as often as it is
// held.
func (s *sim) union() (receipts []protocol.SignedReceipt, facts []protocol.Signed) {
	s.each(up, func(n *simNode) {
		if n.plan != nil {
			r, f := n.plan.Ledger.Everything()
			receipts, facts = append(receipts, r...), append(facts, f...)
		}
	})
	return receipts, facts
}

// checkJoin holds that the ledgers of all nodes join to the same in any order,
// with repeats (I4).
func (s *sim) checkJoin() error {
	receipts, facts := s.union()
	first := s.derive(receipts, facts)
	rng := rand.New(rand.NewPCG(s.seed, 3))
	for range 2 {
		rng.Shuffle(len(receipts), func(i, j int) { receipts[i], receipts[j] = receipts[j], receipts[i] })
		rng.Shuffle(len(facts), func(i, j int) { facts[i], facts[j] = facts[j], facts[i] })
		again := s.derive(receipts, facts)
		if !same(first.Ledger, again.Ledger) || !reflect.DeepEqual(results(first), results(again)) {
			return fmt.Errorf("I4: two orders of the same ledgers differ: roots %s and %s", first.Root(), again.Root())
		}
	}
	return nil
}

// checkEnd holds the root to be that of a sequential run (I1, I8), and a job to
// end as its scenario allows.
func (s *sim) checkEnd() error {
	receipts, facts := s.union()
	all := s.derive(receipts, facts)
	want := sequentialRoot(s.m)
	for _, f := range all.Ledger.facts.job[protocol.Final] {
		if f.open.Root != want && s.m.Mode == protocol.Strict {
			return fmt.Errorf("I1: node %s states root %s, a sequential run gives %s", f.open.By, f.open.Root, want)
		}
	}
	expect := protocol.Final
	switch {
	case s.seen.cancelled:
		expect = protocol.Cancelled
	case len(s.failing) > 0 || all.exhausted():
		expect = protocol.Failed
	}
	end := all.Ended()
	if end.Kind != expect && !(expect == protocol.Failed && len(s.failing) == 0) {
		return fmt.Errorf("the job ended %s (%s), want %s", end.Kind, end.Text, expect)
	}
	return nil
}

// exhausted reports whether a task has failed so often for its hosts' reasons
// that the job may fail.
func (p *Plan) exhausted() bool {
	for _, list := range p.Ledger.facts.runs {
		hosts := 0
		for _, f := range list {
			if f.open.Run.Kind == protocol.FailHost {
				hosts++
			}
		}
		if hosts >= protocol.DefaultRetries {
			return true
		}
	}
	return false
}

// checkExecutions holds I10: a task runs once, and once more for each thing that
// happened to it. On a quiet network nothing does.
func (s *sim) checkExecutions() error {
	unexcused := s.seen.excuses
	if s.leaves < fewLeft { // too few to know how long a task takes
		unexcused -= s.seen.backups
	}
	if s.class == "quiet" && unexcused > 0 {
		return fmt.Errorf("I10: %d tasks were offered again though nothing happened", unexcused)
	}
	if most := s.m.Tasks() + s.seen.excuses; s.seen.starts > most && s.m.Mode == protocol.Strict {
		return fmt.Errorf("I10: %d executions of %d tasks, at most %d are excused", s.seen.starts, s.m.Tasks(), most)
	}
	return nil
}

// postTime is how long a numbered message may take where only single messages
// are lost: four are sent in that time, and no digest need have been.
const postTime = 4500 * time.Millisecond

func (s *sim) checkPosts() error {
	if s.class != "lossy" {
		return nil
	}
	for p, sent := range s.seen.posts {
		arrived, did := s.seen.arrivals[p]
		if !did {
			arrived = s.now
		}
		if arrived.Sub(sent) > postTime {
			return fmt.Errorf("message %d from %s took more than %s to reach steward %s", p.number, p.from, postTime, p.to)
		}
	}
	return nil
}

// Everything returns all that the ledger holds.
func (l *Ledger) Everything() ([]protocol.SignedReceipt, []protocol.Signed) {
	var receipts []protocol.SignedReceipt
	l.everything(func(_ protocol.Key, r *record) {
		for _, e := range r.receipts {
			receipts = append(receipts, e.signed)
		}
	})
	var facts []protocol.Signed
	for _, kind := range []protocol.FactKind{protocol.Committed, protocol.Final, protocol.Failed, protocol.Cancelled} {
		for _, s := range l.facts.job[kind] {
			facts = append(facts, s.signed)
		}
	}
	for shard := range l.layout.Shards() {
		for _, k := range l.facts.failedTasks(shard) {
			for _, s := range l.facts.runs[k] {
				facts = append(facts, s.signed)
			}
		}
	}
	return receipts, facts
}
