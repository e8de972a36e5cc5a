package scheduler

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// network says which messages arrive: those between nodes of one side of a
// partition, over links that are not cut in that direction.
type network struct {
	side map[peer.ID]int
	cut  map[[2]peer.ID]bool // from, to
}

func (w *network) carries(from, to peer.ID) bool {
	return from == to || w.side[from] == w.side[to] && !w.cut[[2]peer.ID{from, to}]
}

// talks reports whether a call from one node to another would be answered.
func (s *sim) talks(from, to peer.ID) bool {
	n := s.nodes[to]
	return n.up && !n.hung() && s.net.carries(from, to) && s.net.carries(to, from)
}

// send loses, repeats, delays and so reorders a message.
func (s *sim) send(n *simNode, to peer.ID, m protocol.Message) {
	if n.mutateSend(m) {
		return
	}
	copies := 1
	if to != n.id {
		switch x := s.rng.Float64(); {
		case x < s.loss:
			copies = 0
		case x < s.loss+s.repeat:
			copies = 2
		}
	}
	if _, award := m.(*protocol.Award); award && s.loseAwards > 0 && s.rng.Float64() < s.loseAwards {
		copies = 0
	}
	switch m.(type) {
	case *protocol.Steal, *protocol.Loot, *protocol.Stolen:
		if s.loseThefts > 0 && s.rng.Float64() < s.loseThefts {
			copies = 0
		}
	}
	if d, done := m.(*protocol.Done); done && d.Number > 0 {
		s.seen.posted(s, n, to, d)
	}
	for i := range copies {
		if a, award := m.(*protocol.Award); award && i > 0 {
			s.seen.excuses += len(a.Tasks) // a repeated award may come after its tasks have ended
		}
		if s.net.carries(n.id, to) {
			s.after(s.latency(n.id, to), func() { s.arrive(n.id, to, m) })
		}
	}
}

func (s *sim) latency(from, to peer.ID) time.Duration {
	if from == to {
		return 0
	}
	if s.ordered {
		return s.delay
	}
	d := time.Millisecond + s.upTo(s.delay)
	if s.rng.IntN(100) == 0 {
		d += s.upTo(10 * s.delay) // a straggler, which others overtake
	}
	return d
}

// arrive delivers a message; what comes to a node that hangs waits in its
// socket.
func (s *sim) arrive(from, to peer.ID, m protocol.Message) {
	n := s.nodes[to]
	if !n.up {
		return
	}
	if n.hung() {
		s.after(n.hangs.Sub(s.now)+time.Microsecond, func() { s.arrive(from, to, m) })
		return
	}
	if s.tracing {
		s.note(from, to, m)
	}
	n.deliver(from, m)
}

// call carries a question to a node and back: it takes a moment, or a timeout.
func (s *sim) call(n *simNode, to peer.ID, then func(ok bool)) {
	ok := s.talks(n.id, to)
	took := s.latency(n.id, to) + s.latency(to, n.id)
	if !ok {
		took = time.Second
	}
	n.later(took, func() { then(ok && s.talks(n.id, to)) })
}
