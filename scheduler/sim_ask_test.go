package scheduler

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// asker is a machine that asks other nodes until it has come to its end.
type asker interface {
	Tick(now time.Time) []Effect
	SetNodes(now time.Time, alive []peer.ID) []Effect
	Alive(now time.Time, id peer.ID)
	Answered(now time.Time, r Reply) []Effect
	Ended() bool
}

// carrying does at node x what it was asked, and answers when that is done.
type carrying func(x *simNode, a Ask, answer func(Reply))

// pursue carries a machine to its end, unless the node ends before.
func (n *simNode) pursue(m asker, carry carrying, then func()) {
	ended := false
	var perform func([]Effect)
	perform = func(effects []Effect) {
		for _, e := range effects {
			n.put(e.(Ask), carry, func(r Reply) {
				if !ended {
					perform(m.Answered(n.now(), r))
				}
			})
		}
		if !ended && m.Ended() {
			ended = true
			then()
		}
	}
	var tick func()
	tick = func() {
		if !ended {
			perform(m.SetNodes(n.now(), n.view))
			perform(m.Tick(n.now()))
			n.later(25*time.Millisecond, tick)
		}
	}
	n.later(25*time.Millisecond, tick)
	perform(m.Tick(n.now()))
}

// put carries a question to a node and its answer back. A node that is down
// refuses the connection; one behind a partition is given up; one that hangs
// answers when it goes on.
func (n *simNode) put(a Ask, carry carrying, reply func(Reply)) {
	s, x := n.s, n.s.nodes[a.To]
	to, back := s.latency(n.id, a.To), s.latency(a.To, n.id)
	switch {
	case !s.net.carries(n.id, a.To) || !s.net.carries(a.To, n.id):
		n.later(deafAfter, func() { reply(Reply{Ask: a, Gone: "no answer"}) })
		return
	case !x.up:
		n.later(to+back, func() { reply(Reply{Ask: a, Gone: "connection refused"}) })
		return
	}
	answered := false
	n.later(10*time.Second, func() { // the call's own limit
		if !answered {
			reply(Reply{Ask: a, Gone: "timeout"})
		}
	})
	x.later(to, func() {
		carry(x, a, func(r Reply) {
			r.Ask, r.Boot = a, x.starts
			if s.net.carries(x.id, n.id) {
				n.later(back, func() {
					answered = true
					reply(r)
				})
			}
		})
	})
}

// carryBlocks answers what a node holds and has it hold more. With vouchers they
// are results, which count, and are copied, with their receipts.
func (n *simNode) carryBlocks(vouchers map[protocol.CID]protocol.SignedReceipt) carrying {
	return func(x *simNode, a Ask, answer func(Reply)) {
		if a.Question == AskHeld {
			var held []bool
			for _, c := range a.Roots {
				held = append(held, x.holds(c, vouchers != nil))
			}
			answer(Reply{Held: held})
			return
		}
		x.later(time.Millisecond+n.s.upTo(2*n.s.delay+10*time.Millisecond), func() {
			for _, root := range a.Roots {
				for _, c := range n.dag(root) {
					if !x.bring(c, a.Sources, vouchers) {
						answer(Reply{Refused: "nobody gives the block"})
						return
					}
				}
			}
			answer(Reply{})
		})
	}
}

// dag are the blocks under a root: all parts for the job's own, and what the top
// of a column links to.
func (n *simNode) dag(c protocol.CID) []protocol.CID {
	out := append([]protocol.CID{c}, n.s.dags[c]...)
	for _, b := range slices.Clone(out) {
		out = append(out, n.s.links[b]...)
	}
	return out
}

// holds reports whether the node has all blocks under a root, and, where it is a
// result, its receipt.
func (n *simNode) holds(c protocol.CID, result bool) bool {
	lacks := slices.ContainsFunc(n.dag(c), func(b protocol.CID) bool { return !n.disk.blocks[b] })
	return !lacks && (!result || n.s.mutation == bareCopies || n.disk.vouches(n.s, c))
}

// vouches reports whether the disk has a receipt that says what a block is.
func (d *disk) vouches(s *sim, c protocol.CID) bool {
	return slices.ContainsFunc(d.receipts, func(r protocol.SignedReceipt) bool {
		return opened[protocol.Receipt](s, r.Body).Result == c
	})
}

// bring copies a block from one of the sources that has it.
func (n *simNode) bring(c protocol.CID, sources []peer.ID, vouchers map[protocol.CID]protocol.SignedReceipt) bool {
	if !n.disk.blocks[c] && !slices.ContainsFunc(sources, func(id peer.ID) bool { return n.s.talks(n.id, id) && n.s.nodes[id].disk.blocks[c] }) {
		return false
	}
	if r, result := vouchers[c]; result {
		return n.hold(c, r)
	}
	n.disk.blocks[c] = true
	return true
}
