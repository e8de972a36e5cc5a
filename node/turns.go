package node

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// maxWaiting bounds the messages of one peer that wait for the loop: enough to
// keep it busy, few enough that what others say comes soon behind them. A peer
// that says more waits; its stream fills up, and its own outbox drops the rest.
const maxWaiting = 16

// turns bounds, by peer, what waits for the loop. There is one entry for each
// member that has ever spoken, and the members that a node remembers are
// bounded.
type turns struct {
	mu sync.Mutex
	of map[peer.ID]chan struct{}
}

func (t *turns) room(p peer.ID) chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[peer.ID]chan struct{}{}
	}
	if t.of[p] == nil {
		t.of[p] = make(chan struct{}, maxWaiting)
	}
	return t.of[p]
}

// postFor is post for what a peer has said: it waits while too much of that
// peer is waiting already, so that one which floods this node holds up nobody
// but itself.
func (l *loop) postFor(ctx context.Context, from peer.ID, f func(now time.Time)) bool {
	room := l.turns.room(from)
	select {
	case room <- struct{}{}:
	case <-ctx.Done():
		return false
	case <-l.done:
		return false
	}
	ok := l.post(ctx, func(now time.Time) { <-room; f(now) })
	if !ok {
		<-room
	}
	return ok
}
