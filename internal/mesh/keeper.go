package mesh

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	manet "github.com/multiformats/go-multiaddr/net"
)

const (
	// maxDials bounds dials and joins under way at once.
	maxDials = 8
	// A failed dial is repeated after a wait that doubles between these. The
	// far limit is for peers beyond this network, and for those that left or
	// died long ago.
	firstWait = 250 * time.Millisecond
	nearWait  = 5 * time.Second
	farWait   = 30 * time.Second
	// yieldWait is how long the peer with the greater ID leaves the dial to
	// the other one, so that they seldom end up with two connections. A dead
	// peer costs this much before it is suspected.
	yieldWait = 100 * time.Millisecond
	// joinWait is between two exchanges with a connected member that the
	// failure detector does not take for alive, and before the first one for
	// the peer that was dialed.
	joinWait = 500 * time.Millisecond
	// complainEvery is how often an unreachable mesh is logged.
	complainEvery = 30 * time.Second
	// lookupTime bounds asking the DHT for addresses.
	lookupTime = 3 * time.Second
	// longGone is after which a dead member is dialed as rarely as one that
	// left.
	longGone = 5 * time.Minute
)

// keeper dials whoever should be connected and is not, for ever, and brings
// the failure detector together with whoever is connected and not in its list:
// one dropped connection, or two halves of a mesh, must never stay apart.
type keeper struct {
	self   peer.ID
	net    network.Network
	view   *view
	book   *book
	log    *slog.Logger
	dial   func(ctx context.Context, info peer.AddrInfo) error
	lookup func(ctx context.Context, p peer.ID) ([]peer.AddrInfo, error)
	join   func(p peer.ID) error // exchanges membership with p
	refuse func(err error)       // a member refused this node
	met    func(p peer.ID)       // p is connected and in the list
	wake   chan struct{}

	mu       sync.Mutex
	contacts map[peer.ID]*contact
	busy     int
	settled  bool // the node is ready: from now on it yields dials
	complain time.Time
}

// contact is how a peer is pursued.
type contact struct {
	next   time.Time // when to dial, or to join, next
	wait   time.Duration
	busy   bool
	failed bool
}

// meet asks for a look at p now: it joined, died, connected or disconnected.
func (k *keeper) meet(p peer.ID) {
	k.mu.Lock()
	if c := k.contacts[p]; c != nil && !c.busy {
		c.next, c.wait = time.Time{}, 0
	}
	k.mu.Unlock()
	k.rouse()
}

func (k *keeper) rouse() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run pursues peers until ctx ends and all dials with it.
func (k *keeper) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		}
		due, next := k.plan(time.Now())
		for _, p := range due {
			wg.Go(func() {
				k.pursue(ctx, p)
				k.rouse()
			})
		}
		timer.Reset(time.Until(next))
	}
}

// plan chooses whom to pursue now, and when to look again.
func (k *keeper) plan(now time.Time) (due []peer.ID, next time.Time) {
	peers := map[peer.ID]bool{}
	for _, p := range append(k.view.peers(), k.book.peers()...) {
		peers[p] = p != k.self
	}
	for _, p := range k.net.Peers() {
		peers[p] = true
	}
	next = now.Add(farWait)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(peers)
	for p, other := range peers {
		state, _ := k.view.state(p)
		connected := k.net.Connectedness(p) == network.Connected
		if !other || (connected && (state == StateAlive || state == StateSuspect)) {
			delete(k.contacts, p) // all is well
			continue
		}
		c := k.contacts[p]
		if c == nil {
			c = &contact{}
			k.contacts[p] = c
		}
		if c.next.IsZero() {
			c.next = now.Add(k.headStart(p, connected))
		}
		switch {
		case c.busy:
		case c.next.After(now):
			next = earlier(next, c.next)
		case k.busy < maxDials:
			c.busy = true
			k.busy++
			due = append(due, p)
		}
	}
	return due, next
}

// forget drops contacts that nobody knows any more.
func (k *keeper) forget(peers map[peer.ID]bool) {
	for p, c := range k.contacts {
		if !peers[p] && !c.busy {
			delete(k.contacts, p)
		}
	}
}

// headStart is how long this node leaves a new task to the other side.
func (k *keeper) headStart(p peer.ID, connected bool) time.Duration {
	switch {
	case connected:
		for _, c := range k.net.ConnsToPeer(p) {
			if c.Stat().Direction == network.DirOutbound {
				return 0
			}
		}
		return joinWait
	case k.self > p && k.settled:
		return yieldWait
	}
	return 0
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// pursue dials p, or joins it when it is connected, and plans the next try.
func (k *keeper) pursue(ctx context.Context, p peer.ID) {
	var err error
	if k.net.Connectedness(p) == network.Connected {
		if err = k.join(p); err == nil {
			k.met(p)
		}
	} else {
		err = k.reach(ctx, p)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.busy--
	c := k.contacts[p]
	if c == nil {
		return
	}
	c.busy, c.failed = false, err != nil
	// Also after a success: the contact is dropped once p is connected and in
	// the list, and until then there is something to try again.
	c.wait = min(max(2*c.wait, firstWait), k.longest(p))
	c.next = time.Now().Add(c.wait/2 + rand.N(c.wait/2+1))
}

// longest is the greatest wait between two dials of p.
func (k *keeper) longest(p peer.ID) time.Duration {
	state, since := k.view.state(p)
	if state == StateLeft || (state == StateDead && time.Since(since) > longGone) {
		return farWait
	}
	for _, a := range k.book.addrs(p) {
		if manet.IsPrivateAddr(a) || manet.IsIPLoopback(a) {
			return nearWait
		}
	}
	return farWait
}

// reach dials p once.
func (k *keeper) reach(ctx context.Context, p peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+lookupTime)
	defer cancel()
	info := peer.AddrInfo{ID: p, Addrs: append(k.view.addrsOf(p), k.book.addrs(p)...)}
	if len(info.Addrs) == 0 {
		found, err := k.lookup(ctx, p)
		if err != nil {
			return err
		}
		for _, f := range found {
			info.Addrs = append(info.Addrs, f.Addrs...)
		}
	}
	if s, ok := k.net.(*swarm.Swarm); ok {
		s.Backoff().Clear(p) // the waits are this keeper's
	}
	err := k.dial(ctx, info)
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		k.refuse(refused)
		return err
	}
	if k.net.Connectedness(p) != network.Connected && k.view.becomeSuspect(p) {
		k.log.Info("member suspected, its connection closed and it cannot be dialed", "peer", p, "err", err)
	}
	k.lament(p, err)
	return err
}

// lament logs from time to time that nobody can be reached.
func (k *keeper) lament(p peer.ID, err error) {
	if len(k.net.Peers()) > 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.complain) < complainEvery {
		return
	}
	k.complain = time.Now()
	k.log.Warn("no member can be reached, trying on; is one of them running, and does a firewall between let its port through?", "peer", p, "err", err)
}

// lonely reports whether every known peer has been tried and none answered.
func (k *keeper) lonely() bool {
	peers := k.book.peers()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range peers {
		if c := k.contacts[p]; p != k.self && (c == nil || !c.failed) {
			return false
		}
	}
	return true
}

// settle ends the start, in which the node dials everybody at once.
func (k *keeper) settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settled = true
}
