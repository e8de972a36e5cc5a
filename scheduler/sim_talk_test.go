package scheduler

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// ping tells the stewards of shards what is held here of them, fellow stewards
// that the shard is known here, and those of the job how far the shard is.
func (n *simNode) ping() {
	if n.plan == nil {
		return
	}
	pings := map[peer.ID]*protocol.Ping{}
	to := func(id peer.ID) *protocol.Ping {
		if pings[id] == nil {
			pings[id] = &protocol.Ping{Boot: n.starts, Clock: n.now().Add(n.lies)}
		}
		return pings[id]
	}
	for _, c := range n.worker.Claims(n.now()) {
		for shard, part := range ordered(n.plan.Layout.Split(c)) {
			for _, id := range n.stewardsOf(shard) {
				p := to(id)
				p.Claims = []protocol.Claim{Joined(append(p.Claims, protocol.Claim{})[0], part)}
			}
		}
	}
	n.eachSteward(func(st *Steward) {
		if n.ended || !within(st.Stewards(), n.id) || st.Over() {
			return
		}
		for _, id := range st.Stewards() {
			to(id).Stewards = append(to(id).Stewards, protocol.ShardRef{Job: n.s.job, Shard: st.shard})
		}
		if p, acting := st.Progress(); acting && st.shard > 0 {
			for _, id := range n.stewardsOf(0) {
				to(id).Progress = append(to(id).Progress, p)
			}
		}
	})
	for _, id := range n.s.ids {
		if p := pings[id]; p != nil {
			n.s.send(n, id, p)
		}
	}
}

// announce tells the stewards of shards what is known here of them.
func (n *simNode) announce(shards []int) {
	if n.plan == nil || n.ended {
		return
	}
	for _, shard := range shards {
		for _, id := range n.stewardsOf(shard) {
			if id != n.id {
				n.s.send(n, id, n.plan.Ledger.Announce(shard, within(n.stewardsOf(shard), n.id), true))
			}
		}
	}
}

func (n *simNode) deliver(from peer.ID, m protocol.Message) {
	s, now := n.s, n.now()
	if p, ping := m.(*protocol.Ping); ping && from != n.id {
		n.clock.Heard(now, from, p.Clock)
	}
	if n.lifeOver() {
		return
	}
	switch m := m.(type) {
	case *protocol.Offer:
		n.perform(n.worker.Offered(now, from, m, 0, ""))
		s.seen.reserved(n)
		return
	case *protocol.Ack:
		n.courier.Acked(from, m)
		return
	case *protocol.Award:
		if len(m.Tasks) > 0 {
			n.know()
		}
		if len(m.Tasks) == 0 || !n.ended {
			n.perform(n.worker.Awarded(now, from, m, simNeeds))
			n.mutateAward(m)
		}
		return
	case *protocol.Steal:
		n.perform(n.worker.Asked(now, from, m))
		return
	case *protocol.Loot:
		if len(m.Tasks) > 0 {
			n.know()
		}
		if len(m.Tasks) == 0 || !n.ended {
			n.perform(n.worker.Looted(now, from, m, simNeeds))
		}
		return
	case *protocol.Release:
		n.perform(n.worker.Released(m))
		return
	case *protocol.Done:
		n.know()
		n.wake(m.Shard)
	case *protocol.Announce:
		n.know()
		n.wake(m.Shard)
	case *protocol.Lost:
		n.know()
	}
	if n.plan == nil {
		return
	}
	switch m := m.(type) {
	case *protocol.Bid:
		if !n.ended {
			n.perform(n.asker(m.Reservation).Bid(now, from, m))
		}
	case *protocol.Ping:
		n.pinged(now, from, m)
	case *protocol.Lost:
		if len(m.Tasks) > 0 && !n.ended {
			shard := n.plan.Layout.ShardOf(m.Tasks[0])
			n.wake(shard)
			n.check(Check{Shard: shard, Task: m.Tasks[0], Deps: m.Tasks})
		}
	case *protocol.Stolen:
		n.eachSteward(func(st *Steward) { st.Stolen(now, from, m) })
	case *protocol.Done:
		n.add(m.Receipts, m.Facts)
		s.seen.arrived(s, n, from, m)
		if m.Number > 0 {
			s.send(n, from, &protocol.Ack{Job: m.Job, Numbers: []uint64{m.Number}})
		}
	case *protocol.Announce:
		for _, d := range n.plan.Ledger.LackedBy(m) {
			s.send(n, from, d)
		}
		if m.Reply && n.plan.Ledger.Lacks(m) {
			s.send(n, from, n.plan.Ledger.Announce(m.Shard, true, false))
		}
	}
}

// asker is the steward that made an offer; any when it is closed.
func (n *simNode) asker(reservation uint64) *Steward {
	asker := n.steward(0)
	n.eachSteward(func(st *Steward) {
		if st.Asks(reservation) {
			asker = st
		}
	})
	return asker
}

func (n *simNode) pinged(now time.Time, from peer.ID, p *protocol.Ping) {
	for _, r := range p.Stewards {
		if st := n.stewards[r.Shard]; st != nil {
			st.Fellow(now, from)
		}
	}
	if n.ended {
		return
	}
	var held map[int]protocol.Claim
	if len(p.Claims) > 0 {
		held = n.plan.Layout.Split(p.Claims[0])
	}
	n.eachSteward(func(st *Steward) {
		n.perform(st.Pinged(now, from, p.Boot, held[st.shard].Tasks, held[st.shard].Running))
	})
	for _, progress := range p.Progress {
		n.steward(0).Reported(now, progress)
	}
}
