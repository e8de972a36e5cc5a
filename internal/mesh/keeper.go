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
	// maxGreetings bounds those among them that only make acquaintance with a
	// live member. A newcomer is greeted by everybody: on a loaded machine a
	// storm of handshakes would delay the probes of the failure detector.
	maxGreetings = 1
	// planEvery is the least time between two looks at all peers.
	planEvery = 10 * time.Millisecond
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
	// greetWait is the same for a first acquaintance, which is not urgent.
	greetWait = 3 * time.Second
	// joinWait is how long a connected member that the failure detector does
	// not take for alive has to turn up by itself, through gossip.
	joinWait = time.Second
	// maxPokes is how often such a member is then asked to assert itself
	// before memberships are exchanged, and exchangeEvery the least time
	// between two exchanges. They carry every suspicion that either side has:
	// when many nodes exchange at once, suspicions breed faster than they can
	// be refuted.
	maxPokes      = 3
	exchangeEvery = 2 * time.Second
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
	poke   func(p peer.ID) error // asks p to assert that it lives
	refuse func(err error)       // a member refused this node
	wake   chan struct{}

	mu       sync.Mutex
	contacts map[peer.ID]*contact
	busy     int
	greeting int  // of busy
	settled  bool // the node is ready: from now on it yields dials
	complain time.Time
	exchange time.Time // when memberships may be exchanged next
}

// contact is how a peer is pursued.
type contact struct {
	next     time.Time // when to dial, or to join, next
	wait     time.Duration
	known    bool // was connected, or pursued before
	pokes    int
	busy     bool
	greeting bool
	failed   bool
}

// lost asks for a redial of p at once: its connection closed.
func (k *keeper) lost(p peer.ID) {
	k.mu.Lock()
	if k.contacts[p] == nil {
		k.contacts[p] = &contact{known: true}
	}
	k.mu.Unlock()
	k.meet(p)
}

// meet asks for a look at p now: it joined, died or connected.
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
		began := time.Now()
		due, next := k.plan(began)
		for _, p := range due {
			wg.Go(func() {
				k.pursue(ctx, p)
				k.rouse()
			})
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(began.Add(planEvery))):
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
		c := k.contacts[p]
		if !other || (connected && (state == StateAlive || state == StateSuspect)) {
			if c != nil && !c.busy {
				delete(k.contacts, p) // all is well
			}
			continue
		}
		if c == nil {
			c = &contact{}
			k.contacts[p] = c
		}
		if c.next.IsZero() {
			c.next = now.Add(k.headStart(p, connected, c.known))
		}
		switch {
		case c.busy:
		case c.next.After(now):
			next = earlier(next, c.next)
		case k.begin(c, !connected && !c.known && state == StateAlive):
			due = append(due, p)
		}
	}
	return due, next
}

// begin takes a place for pursuing c, if one is free. Called with the lock
// held.
func (k *keeper) begin(c *contact, greeting bool) bool {
	if k.busy >= maxDials || (greeting && k.greeting >= maxGreetings) {
		return false // the end of another pursuit rouses the keeper
	}
	c.busy, c.greeting = true, greeting
	k.busy++
	if greeting {
		k.greeting++
	}
	return true
}

// end frees the place that c took. Called with the lock held.
func (k *keeper) end(c *contact) {
	k.busy--
	if c.greeting {
		k.greeting--
	}
	c.busy, c.greeting, c.known = false, false, true
}

// forget drops contacts that nobody knows any more.
func (k *keeper) forget(peers map[peer.ID]bool) {
	for p, c := range k.contacts {
		if !peers[p] && !c.busy {
			delete(k.contacts, p)
		}
	}
}

// headStart is how long this node leaves a new task to the other side, or to
// gossip. A node that is alone joins the first that it reaches.
func (k *keeper) headStart(p peer.ID, connected, known bool) time.Duration {
	switch {
	case connected && k.view.ups() > 1:
		return joinWait
	case connected:
		return 0
	case k.self > p && k.settled && known:
		return yieldWait
	case k.self > p && k.settled:
		return greetWait
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
		err = k.introduce(p)
	} else {
		err = k.reach(ctx, p)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.contacts[p] // is there as long as it is busy
	k.end(c)
	c.failed = err != nil
	// Also after a success: the contact is dropped once p is connected and in
	// the list, and until then there is something to try again.
	c.wait = min(max(2*c.wait, firstWait), k.longest(p))
	c.next = time.Now().Add(c.wait/2 + rand.N(c.wait/2+1))
}

// introduce gets a connected peer into the failure detector's list.
func (k *keeper) introduce(p peer.ID) error {
	k.mu.Lock()
	c, now := k.contacts[p], time.Now()
	ask := k.view.ups() > 1 && (c.pokes < maxPokes || now.Before(k.exchange))
	if ask {
		c.pokes++
	} else {
		c.pokes, k.exchange = 0, now.Add(exchangeEvery)
	}
	k.mu.Unlock()
	if ask {
		return k.poke(p)
	}
	return k.join(p)
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
	if k.net.Connectedness(p) == network.Connected {
		return nil
	}
	if err == nil || errors.Is(ctx.Err(), context.Canceled) {
		return err
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		k.refuse(refused)
		return err
	}
	if k.view.becomeSuspect(p) {
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
