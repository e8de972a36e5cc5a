package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

const (
	// askTick is the resolution of time of a machine that asks.
	askTick = 25 * time.Millisecond
	// firstSign is when a node that is at work on a long answer is asked for a
	// sign of life first, signEvery how often then: one that hangs must be told
	// from one that copies a large file.
	firstSign = 100 * time.Millisecond
	signEvery = time.Second
)

// asker is a machine that asks other nodes until it has come to its end.
type asker interface {
	Tick(now time.Time) []scheduler.Effect
	SetNodes(now time.Time, alive []peer.ID) []scheduler.Effect
	Alive(now time.Time, id peer.ID)
	Answered(now time.Time, r scheduler.Reply) []scheduler.Effect
	Ended() bool
}

// asking puts one question of a machine to a node.
type asking func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error)

// pursue carries a machine to its end, and gives up what is still open then. It
// fails when ctx ends before.
func (n *Node) pursue(ctx context.Context, m asker, put asking) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan func(now time.Time) []scheduler.Effect)
	post := func(f func(now time.Time) []scheduler.Effect) {
		select {
		case events <- f:
		case <-ctx.Done():
		}
	}
	perform := func(effects []scheduler.Effect) {
		for _, e := range effects {
			if a, ok := e.(scheduler.Ask); ok {
				wg.Go(func() { n.put(ctx, m, a, put, post) })
			}
		}
	}
	tick := time.NewTicker(askTick)
	defer tick.Stop()
	changed := n.mesh.Changed()
	perform(m.Tick(time.Now()))
	for !m.Ended() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-events:
			perform(f(time.Now()))
		case <-changed:
			changed = n.mesh.Changed()
			perform(m.SetNodes(time.Now(), n.mesh.Alive()))
		case <-tick.C:
			perform(m.Tick(time.Now()))
		}
	}
	return nil
}

// put puts one question and reports what came of it, with signs of life
// meanwhile: to look up thousands of roots may take as long as to copy some.
func (n *Node) put(ctx context.Context, m asker, a scheduler.Ask, put asking, post func(func(time.Time) []scheduler.Effect)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	signs, end := context.WithCancel(ctx)
	defer end()
	wg.Go(func() {
		n.signs(signs, a.To, func() {
			post(func(now time.Time) []scheduler.Effect { m.Alive(now, a.To); return nil })
		})
	})
	answer, err := put(ctx, a)
	r := scheduler.Reply{Ask: a}
	if answer != nil {
		r.Boot, r.Held = answer.Boot, answer.Held
	}
	var refused remoteError
	switch {
	case errors.As(err, &refused):
		r.Refused = err.Error()
	case err != nil:
		r.Gone = err.Error()
	}
	post(func(now time.Time) []scheduler.Effect { return m.Answered(now, r) })
}

// signs asks a node, until ctx ends, a question that costs nothing. This node
// lives, whatever its own calls say of it.
func (n *Node) signs(ctx context.Context, to peer.ID, alive func()) {
	wait := time.NewTimer(firstSign)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
		case <-ctx.Done():
			return
		}
		q := &protocol.Request{Held: &protocol.Held{Roots: []protocol.CID{emptyBlock}}}
		err := error(nil)
		if to != n.id {
			_, err = n.caller.call(ctx, to, q, callWait)
		}
		if err == nil {
			alive()
		}
		wait.Reset(signEvery)
	}
}

// askBlocks puts the questions which DAGs a node holds, and whether it will
// hold some. With vouchers, results of a job count, and are copied, together
// with their receipts.
func (n *Node) askBlocks(job protocol.CID, vouchers map[protocol.CID]protocol.SignedReceipt) asking {
	return func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		all := &protocol.Answer{}
		for roots := range slices.Chunk(a.Roots, maxHoldRoots) {
			q, wait := &protocol.Request{Held: &protocol.Held{Roots: roots, Job: job}}, callWait
			if a.Question != scheduler.AskHeld {
				q, wait = &protocol.Request{Hold: &protocol.Hold{Roots: roots, Sources: a.Sources, Job: job}}, holdWait
				for _, c := range roots {
					if r, ok := vouchers[c]; ok {
						q.Hold.Receipts = append(q.Hold.Receipts, r)
					}
				}
			}
			answer, err := n.caller.call(ctx, a.To, q, wait)
			if err != nil {
				return nil, err
			}
			n.noteAbility(ctx, a.To, answer)
			all.Boot, all.Held = answer.Boot, append(all.Held, answer.Held...)
		}
		return all, nil
	}
}

// noteAbility remembers what a member says that it can run.
func (n *Node) noteAbility(ctx context.Context, id peer.ID, a *protocol.Answer) {
	if a.Can != nil {
		n.able(ctx, id, ability{a.Boot, *a.Can})
	}
}

// hedged makes an asker of a hedge: the same question to one node after another.
type hedged struct{ hedge *scheduler.Hedge }

func (t hedged) Tick(now time.Time) []scheduler.Effect {
	var out []scheduler.Effect
	for _, id := range t.hedge.Tick(now) {
		out = append(out, scheduler.Ask{To: id, Question: scheduler.AskHold})
	}
	return out
}

func (t hedged) SetNodes(now time.Time, _ []peer.ID) []scheduler.Effect { return t.Tick(now) }

func (t hedged) Alive(now time.Time, id peer.ID) { t.hedge.Alive(now, id) }

func (t hedged) Answered(now time.Time, r scheduler.Reply) []scheduler.Effect {
	t.hedge.Answered(r.Ask.To, r.Refused+r.Gone)
	return t.Tick(now)
}

func (t hedged) Ended() bool { return t.hedge.Ended() }

// holdAt asks nodes in turn, as many at once as copies are wanted, and returns
// those that hold.
func (n *Node) holdAt(ctx context.Context, targets []peer.ID, copies int, q *protocol.Request) []peer.ID {
	h := scheduler.NewHedge(copies, targets, maxHoldFailures)
	_ = n.pursue(ctx, hedged{h}, func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		return n.caller.call(ctx, a.To, q, holdWait)
	})
	if len(h.Did()) < copies {
		n.log.Debug("copies refused", "held", len(h.Did()), "wanted", copies, "error", h.Why())
	}
	return h.Did()
}
