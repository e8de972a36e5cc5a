package node

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// receive checks a message from a peer, outside the loop since signatures cost
// time, and hands it to the loop. It is called in order for each peer.
func (n *Node) receive(ctx context.Context, from peer.ID, m protocol.Message) {
	if !n.memberSpoke(from) {
		return
	}
	switch m := m.(type) {
	case *protocol.Offer:
		missing, full := n.missing(ctx, m.Inputs), n.full()
		n.loop.postFor(ctx, from, func(now time.Time) { n.loop.offered(now, from, m, missing, full) })
		return
	case *protocol.Award:
		if len(m.Tasks) > 0 && n.knows(ctx, m.Job, from) != nil {
			return // the steward will miss the claim and offer again
		}
	case *protocol.Done:
		if n.knows(ctx, m.Job, from) != nil {
			return
		}
		o, err := n.open(ctx, m)
		if err != nil {
			n.refuse(err)
			n.log.Warn("bad receipts dropped", "peer", from, "job", m.Job, "error", err)
			return
		}
		n.loop.postFor(ctx, from, func(now time.Time) { n.loop.received(now, from, m, o) })
		return
	case *protocol.Announce:
		if n.knows(ctx, m.Job, from) != nil {
			return
		}
	case *protocol.Lost:
		if n.knows(ctx, m.Job, from) != nil {
			return
		}
	case *protocol.Steal:
		if err := n.vouched(from, protocol.RoleWork); err != nil {
			n.refuse(because(RefusedSigner, err))
			return
		}
	case *protocol.Loot:
		if len(m.Tasks) > 0 && n.knows(ctx, m.Job, from) != nil {
			return // its stewards will miss the claim and offer again
		}
	}
	n.loop.postFor(ctx, from, func(now time.Time) { n.loop.handle(now, from, m) })
}

// missing counts the bytes of those that are not here.
func (n *Node) missing(ctx context.Context, inputs []protocol.Sized) int64 {
	var lacks int64
	for _, in := range inputs {
		if has, err := n.store.Has(ctx, in.CID); err != nil || !has {
			lacks += min(in.Size, math.MaxInt64-lacks)
		}
	}
	return lacks
}

// open checks what a message brought, and that members have signed it.
func (n *Node) open(ctx context.Context, d *protocol.Done) (opened, error) {
	o, err := n.check(d)
	if err != nil {
		return opened{}, err
	}
	for _, r := range o.receipts {
		if err := n.vouched(r.open.Worker, protocol.RoleWork); err != nil {
			return opened{}, because(RefusedSigner, err)
		}
	}
	for _, f := range o.facts {
		if err := n.signedBy(f.open); err != nil {
			return opened{}, err
		}
	}
	return o, n.keepResults(ctx, o)
}

// factRoles are the roles that who states a fact must have. Who may cancel
// depends on the job: see mayCancel.
var factRoles = map[protocol.FactKind]string{
	protocol.FailedRun: protocol.RoleWork,
	protocol.Committed: protocol.RoleStore, protocol.Final: protocol.RoleStore, protocol.Failed: protocol.RoleStore,
}

// vouched fails for whoever is not known to be a member with that role: a
// member could sign with keys that it has made up.
func (n *Node) vouched(id peer.ID, role string) error {
	roles := n.mesh.Roles(id)
	if len(roles) == 0 || role != "" && !slices.Contains(roles, role) {
		return fmt.Errorf("%w: signed by %s, which is not known to be a member that may", protocol.ErrReceipt, id)
	}
	return nil
}

// maySubmit fails for a job whose submitter has no right to submit.
func (n *Node) maySubmit(m *protocol.Manifest) error {
	if !slices.Contains(n.mesh.Roles(m.Submitter), protocol.RoleSubmit) {
		return because(RefusedSubmitter, fmt.Errorf("node %s may not submit jobs: its membership lacks the role submit", m.Submitter))
	}
	return nil
}

// keepResults keeps the results that ride along with receipts, but none of a
// task that its job does not have.
func (n *Node) keepResults(ctx context.Context, o opened) error {
	for _, r := range o.receipts {
		m, known := n.known.Load(r.open.Job)
		if len(r.signed.Block) == 0 || known && !hasTask(m.(*protocol.Manifest), r.open.Task) {
			continue
		}
		if err := n.store.Put(ctx, r.open.Result, r.signed.Block); err != nil {
			return fmt.Errorf("keeping a result: %w", err)
		}
	}
	return nil
}

// check opens receipts and facts of one job.
func (n *Node) check(d *protocol.Done) (opened, error) {
	var o opened
	receipts, err := protocol.OpenReceipts(d.Receipts)
	if err != nil {
		return opened{}, err
	}
	for i, s := range d.Receipts {
		r := receipts[i]
		if r.Job != d.Job {
			return opened{}, fmt.Errorf("%w: of another job", protocol.ErrReceipt)
		}
		o.receipts = append(o.receipts, openReceipt{s, r})
	}
	for _, s := range d.Facts {
		f, err := protocol.OpenFact(s)
		if err != nil {
			return opened{}, err
		}
		if f.Job != d.Job {
			return opened{}, fmt.Errorf("%w: of another job", protocol.ErrReceipt)
		}
		o.facts = append(o.facts, openFact{s, f})
	}
	return o, nil
}

// handle takes a message that needs no check outside the loop, or comes from
// this node itself.
func (l *loop) handle(now time.Time, from peer.ID, m protocol.Message) {
	switch m := m.(type) {
	case *protocol.Offer:
		l.offered(now, from, m, 0, l.n.full())
	case *protocol.Bid:
		if j := l.jobs[m.Job]; l.n.speaksOf(j) && !j.ended {
			l.perform(now, j.asker(m.Reservation).Bid(now, from, m))
		}
	case *protocol.Award:
		l.awarded(now, from, m)
	case *protocol.Ping:
		l.pingedBy(now, from, m)
	case *protocol.Ack:
		l.courier.Acked(from, m)
	case *protocol.Announce:
		l.announced(now, from, m)
	case *protocol.Steal:
		l.perform(now, l.worker.Asked(now, from, m))
	case *protocol.Loot:
		l.looted(now, from, m)
	case *protocol.Stolen:
		if j := l.jobs[m.Job]; j != nil && !j.ended {
			for _, st := range j.each() {
				st.Stolen(now, from, m)
			}
		}
	case *protocol.Lost:
		l.lostTo(now, from, m)
	case *protocol.Release:
		l.released(now, from, m)
	}
}

func (l *loop) offered(now time.Time, from peer.ID, o *protocol.Offer, missing int64, full string) {
	self := scheduler.Node{Has: l.n.has()}
	l.perform(now, l.worker.Offered(now, from, o, missing, cmp.Or(self.Can(o.Needs), full)))
}

// full says that this node's disk has no room for results, or "".
func (n *Node) full() string {
	if err := n.store.Room(); err != nil {
		return err.Error()
	}
	return ""
}

func (l *loop) awarded(now time.Time, from peer.ID, a *protocol.Award) {
	if j, ok := l.given(a.Job, &a.Tasks, &a.Turn); ok {
		l.perform(now, l.worker.Awarded(now, from, a, l.needsOf(j)))
	}
}

// looted takes what this node has stolen.
func (l *loop) looted(now time.Time, from peer.ID, m *protocol.Loot) {
	if j, ok := l.given(m.Job, &m.Tasks, &m.Turn); ok {
		l.perform(now, l.worker.Looted(now, from, m, l.needsOf(j)))
	}
}

// given checks tasks that a peer gives this node, and reports whether they may
// be taken: those that the job does not have are dropped, and of the turn that
// the peer says they have only the expected length counts. The rest stands in
// the manifest. The job may be nil where there are no tasks.
func (l *loop) given(id protocol.CID, tasks *[]protocol.Awarded, turn *protocol.Turn) (*job, bool) {
	j := l.jobs[id]
	if len(*tasks) > 0 && (j == nil || j.ended) {
		return nil, false
	}
	said := turn.Estimate
	*turn = protocol.Turn{}
	if j == nil {
		return nil, true
	}
	if *tasks = l.n.within(j.plan.Manifest, *tasks); len(*tasks) > 0 {
		*turn = scheduler.TurnOf(j.plan.Manifest, (*tasks)[0].Task.Stage, said)
	}
	return j, true
}

// needsOf says what a node must have to run a task of the job; j may be nil
// where there are no tasks.
func (l *loop) needsOf(j *job) func(protocol.Key) protocol.Needs {
	return func(k protocol.Key) protocol.Needs { return scheduler.NeedsOf(j.plan.Manifest, k.Stage) }
}

// within drops the tasks that the job does not have.
func (n *Node) within(m *protocol.Manifest, tasks []protocol.Awarded) []protocol.Awarded {
	return slices.DeleteFunc(tasks, func(t protocol.Awarded) bool { return !n.takes(m, t.Task) })
}

func (l *loop) pingedBy(now time.Time, from peer.ID, p *protocol.Ping) {
	l.heardClock(now, from, p.Clock)
	held := map[protocol.CID]protocol.Claim{}
	if len(p.Claims) > 0 && l.n.vouched(from, protocol.RoleWork) == nil {
		for _, c := range p.Claims {
			held[c.Job] = c
		}
	}
	for _, s := range p.Stewards {
		if j := l.jobs[s.Job]; j != nil && j.stewards[s.Shard] != nil {
			j.stewards[s.Shard].Fellow(now, from)
		}
	}
	for _, id := range l.openIDs() {
		j := l.jobs[id]
		parts := j.plan.Layout.Split(held[id])
		for shard, st := range j.each() {
			l.perform(now, st.Pinged(now, from, p.Boot, parts[shard].Tasks, parts[shard].Running))
		}
	}
	for _, progress := range p.Progress {
		if slices.Contains(l.stewardsOf(progress.Job, progress.Shard), from) {
			l.jobs[progress.Job].steward.Reported(now, progress)
		}
	}
}

// released takes the word of a shard's stewards that tasks of it need not be
// run here.
func (l *loop) released(now time.Time, from peer.ID, m *protocol.Release) {
	j := l.jobs[m.Job]
	if j == nil {
		return
	}
	for shard, keys := range inOrder(j.plan.Layout.ByShard(m.Tasks)) {
		if slices.Contains(j.stewardsOf(shard), from) {
			l.perform(now, l.worker.Released(&protocol.Release{Job: m.Job, Tasks: keys}))
		}
	}
}

// maxReported bounds the searches for results that a job's steward cannot find.
// What finds no room is reported again.
const maxReported = 64

// lostTo looks, as a steward of the shard that gave them, for results that a
// steward of the job shard cannot find.
func (l *loop) lostTo(now time.Time, from peer.ID, m *protocol.Lost) {
	j := l.jobs[m.Job]
	if j == nil || j.ended || !slices.Contains(j.stewardsOf(0), from) {
		return
	}
	for shard, keys := range inOrder(j.plan.Layout.ByShard(m.Tasks)) {
		if l.wake(now, j, shard); j.stewards[shard] != nil && len(j.checking) < maxReported {
			l.check(scheduler.Check{Job: m.Job, Shard: shard, Task: keys[0], Deps: keys})
		}
	}
}

func (l *loop) received(now time.Time, from peer.ID, d *protocol.Done, o opened) {
	j := l.jobs[d.Job]
	if j == nil {
		return
	}
	l.wake(now, j, d.Shard)
	l.add(now, j, o)
	if d.Number > 0 && !j.unkept { // an acknowledgement promises that the disk has it
		// While the job goes on the loop ticks often enough to gather them.
		if ack := l.acks.owe(from, d.Job, d.Number, !j.ended); ack != nil {
			l.send(from, ack)
		}
	}
}

// announced compares ledgers: it gives the announcer what it lacks, and asks
// for what is lacking here. Facts it always gives, receipts not in too short
// order: one small message would have this node encode thousands.
func (l *loop) announced(now time.Time, from peer.ID, a *protocol.Announce) {
	j := l.jobs[a.Job]
	if j == nil || a.Shard >= j.plan.Layout.Shards() {
		return
	}
	l.wake(now, j, a.Shard)
	to := replyTo{from, a.Job, a.Shard}
	a.Want = a.Want && l.replies.due(now, to)
	for _, d := range j.plan.Ledger.LackedBy(a) {
		if len(d.Receipts) > 0 {
			l.replies.given(now, to)
		}
		l.send(from, d)
	}
	if a.Reply && j.plan.Ledger.Lacks(a) {
		l.send(from, j.plan.Ledger.Announce(a.Shard, true, false))
	}
}

// ensureJob makes a job known here: from memory, from disk, or from a peer
// that has spoken of it. It fails with errExpired.
func (n *Node) ensureJob(ctx context.Context, id protocol.CID, from peer.ID) error {
	if m, known := n.known.Load(id); known {
		return n.unexpired(id, m.(*protocol.Manifest))
	}
	doc, err := n.store.Get(ctx, id)
	if err != nil {
		if doc, err = n.fetchManifest(ctx, id, []peer.ID{from}); err != nil {
			return err
		}
	}
	return n.learn(ctx, id, doc)
}

// fetchManifest fetches a job's manifest from one of the peers.
func (n *Node) fetchManifest(ctx context.Context, id protocol.CID, from []peer.ID) ([]byte, error) {
	fetch, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	if err := n.exchange.FetchBlocks(fetch, []protocol.CID{id}, from); err != nil {
		return nil, fmt.Errorf("fetching the manifest of job %s: %w", id, err)
	}
	return n.store.Get(ctx, id)
}

// storing are the live members that keep blocks and ledgers for others, this
// one perhaps among them.
func (n *Node) storing() []peer.ID {
	return slices.DeleteFunc(n.mesh.Alive(), func(id peer.ID) bool {
		return !slices.Contains(n.mesh.Roles(id), protocol.RoleStore)
	})
}

// learn makes a job known from its manifest, and loads what this node's disk
// has of its ledger. A job that has expired, or that somebody submitted who
// may not, or that finds no room, is not learned.
func (n *Node) learn(ctx context.Context, id protocol.CID, doc []byte) error {
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		return err
	}
	if err := n.maySubmit(m); err != nil {
		return err
	}
	if err := n.unexpired(id, m); err != nil {
		return err
	}
	if err := n.bounded(id, m); err != nil {
		return err
	}
	kept := n.keptLedger(ctx, id)
	err = fmt.Errorf("learning job %s: %w", id, context.Canceled)
	n.loop.do(ctx, func(now time.Time) {
		l := n.loop
		if l.jobs[id] == nil {
			if !l.room() {
				err = because(RefusedFull, fmt.Errorf("job %s is not taken up: this node looks after %d jobs that have not ended; use another node, or wait until some of them end", id, maxJobs))
				return
			}
			l.add(now, l.learn(now, id, m), kept)
		}
		err = nil
		n.known.Store(id, m) // here, or it might have been forgotten before it is known
	})
	return err
}

// ability is what a member has said, in this start of it, that it can run.
// Gossip brings the same, but later and perhaps of an earlier start.
type ability struct {
	boot uint64
	can  protocol.Needs
}

// able keeps what a member has said that it has; stewards hear of it at once.
func (n *Node) able(ctx context.Context, id peer.ID, a ability) {
	old, known := n.abilities.Swap(id, a)
	if !known || old.(ability).boot != a.boot {
		n.loop.post(ctx, n.loop.refresh)
	}
}

// askAbilities asks those live members what they have that have not said so yet
// in this start of theirs: gossip takes its time, and brings less.
func (n *Node) askAbilities(nodes []scheduler.Node) {
	for _, node := range nodes {
		if node.Has.Cores > 0 || node.NoWork {
			continue
		}
		if _, asking := n.asking.LoadOrStore(node.ID, true); asking {
			continue
		}
		n.wg.Go(func() {
			defer n.asking.Delete(node.ID)
			n.findHolders(n.ctx, []protocol.CID{emptyBlock}, []peer.ID{node.ID}, callWait)
		})
	}
}

// emptyBlock names the block without content: a question that costs nothing.
var emptyBlock = protocol.NewCID(protocol.CodecRaw, nil)

// liveNodes are the live members as stewards see them.
func (n *Node) liveNodes() []scheduler.Node {
	alive := n.mesh.Alive()
	var out []scheduler.Node
	for _, m := range n.mesh.Members() {
		if !slices.Contains(alive, m.ID) {
			continue
		}
		node := scheduler.Node{ID: m.ID, Boot: m.Boot, Slots: m.Slots, Load: m.Load.Running + m.Load.Queued, Has: protocol.Needs{Kinds: m.Load.Kinds, Funcs: m.Load.Funcs}}
		roles := n.mesh.Roles(m.ID)
		node.NoWork, node.NoStore = !slices.Contains(roles, protocol.RoleWork), !slices.Contains(roles, protocol.RoleStore)
		if m.ID == n.id {
			node.Has = n.has()
		} else if known, ok := n.abilities.Load(m.ID); ok && known.(ability).boot == m.Boot {
			node.Has = known.(ability).can
		}
		out = append(out, node)
	}
	return out
}
