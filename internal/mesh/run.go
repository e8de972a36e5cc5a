package mesh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// tidyEvery is how often the view is reviewed and files are written.
	tidyEvery = time.Second
	// findTime bounds how long a restarted node looks for somebody it knows
	// before it calls itself ready.
	findTime = 1500 * time.Millisecond
	// findEvery is how often it checks.
	findEvery = 20 * time.Millisecond
	// assertTime bounds telling the others that this node lives.
	assertTime = time.Second
	// protectTag keeps the connection manager away from members.
	protectTag = "member"
)

// parts are what Run starts and ends.
type parts struct {
	dht  *dht.IpfsDHT
	wire *wire
	swim *memberlist.Memberlist
	mdns io.Closer
	bell *network.NotifyBundle
}

// Run listens, joins and serves until ctx ends, then says goodbye and closes
// everything, the host included; it returns nil for that. It fails when it
// cannot listen, and for a newcomer with a *RefusedError when a member turns it
// away. It can be called once.
func (m *Mesh) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	m.mu.Lock()
	if m.closed || m.stop != nil {
		m.mu.Unlock()
		return errors.New("running a mesh: it was closed or runs already")
	}
	m.stop = stop
	m.mu.Unlock()
	defer close(m.done)
	err := m.serve(ctx)
	err = errors.Join(err, m.host.Close())
	m.mu.Lock()
	defer m.mu.Unlock()
	return errors.Join(m.failure, err)
}

// serve runs all parts. Its own life goes on a little after ctx, for leaving.
func (m *Mesh) serve(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	if err := listen(m.host, m.cfg, m.dir); err != nil {
		return err
	}
	var p parts
	defer p.close(m)
	if err := m.start(life, &p); err != nil {
		return err
	}
	var wg sync.WaitGroup
	tidy := func(ctx context.Context) { m.tidy(ctx, &p) }
	for _, child := range []func(context.Context){m.keeper.run, m.gossip.run, m.find, tidy} {
		wg.Go(func() { child(ctx) })
	}
	wg.Wait()
	return m.leave(&p)
}

// start starts the parts in their order.
func (m *Mesh) start(life context.Context, p *parts) (err error) {
	if p.dht, err = newDHT(m.host, m.roster.isMember, !m.cfg.NoDHTRefresh); err != nil {
		return err
	}
	m.keeper.lookup = func(ctx context.Context, id peer.ID) ([]peer.AddrInfo, error) { return lookup(ctx, p.dht, id) }
	if err := m.gossip.start(life, m.host, m.id.mesh); err != nil {
		return err
	}
	p.wire = newWire(life, m.host, m.roster.isMember, m.view.heardOf, m.log)
	if p.swim, err = newSwim(m, p.wire); err != nil {
		return err
	}
	m.mu.Lock()
	m.swim = p.swim
	m.mu.Unlock()
	p.bell = &network.NotifyBundle{ConnectedF: m.connected, DisconnectedF: m.disconnected}
	m.host.Network().Notify(p.bell)
	for _, id := range m.host.Network().Peers() {
		m.keeper.meet(id) // connected before the bell was there
	}
	if m.cfg.MDNS {
		s, err := newMDNS(m)
		if err != nil {
			return err
		}
		if s != nil {
			p.mdns = s
		}
	}
	return nil
}

// close ends what start started, the last first.
func (p *parts) close(m *Mesh) {
	if p.mdns != nil {
		_ = p.mdns.Close()
	}
	if p.bell != nil {
		m.host.Network().StopNotify(p.bell)
	}
	if p.swim != nil {
		_ = p.swim.Shutdown() // ends the wire
	} else if p.wire != nil {
		_ = p.wire.Shutdown()
	}
	if p.dht != nil {
		_ = p.dht.Close()
	}
}

// leave tells the others that this node goes, and keeps what it knows.
func (m *Mesh) leave(p *parts) error {
	m.mu.Lock()
	killed := m.killed
	m.mu.Unlock()
	if killed {
		return nil
	}
	farewell, err := m.news.goodbye(m.id.key, m.cfg.Boot)
	if err != nil {
		m.log.Warn("left without a word", "err", err)
	}
	for _, other := range m.host.Network().Peers() {
		if err := m.tell(other, farewell); err != nil {
			m.log.Debug("farewell not sent", "err", err)
		}
	}
	if err := p.swim.Leave(leaveTime); err != nil {
		m.log.Debug("the others may not know that this node left", "err", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	p.wire.flush(ctx)
	return m.save()
}

// save writes down who is known and where.
func (m *Mesh) save() error {
	return errors.Join(m.roster.save(m.dir), m.book.save(m.dir))
}

// tidy does what needs doing now and then.
func (m *Mesh) tidy(ctx context.Context, p *parts) {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	told := m.addrs()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m.view.review(time.Now())
		p.wire.closeIdle(time.Now())
		if err := m.save(); err != nil {
			m.log.Warn("the node's memory of the mesh was not saved", "err", err)
		}
		poked := false
		select {
		case <-m.news.poked:
			poked = true
		default:
		}
		if now := m.addrs(); poked || !slices.EqualFunc(now, told, ma.Multiaddr.Equal) {
			told = now
			m.assert(p)
		}
	}
}

// assert tells the others that this node lives and where it is now.
func (m *Mesh) assert(p *parts) {
	if err := p.swim.UpdateNode(assertTime); err != nil {
		m.log.Debug("the others may not have heard this node", "err", err)
	}
}

// find makes the node ready: see Ready. Whichever side began the exchange of
// membership, a newcomer is in once it is connected to somebody alive.
func (m *Mesh) find(ctx context.Context) {
	tick := time.NewTicker(findEvery)
	defer tick.Stop()
	late := time.After(findTime)
	for !m.acquainted() {
		alone := !m.id.newcomer && m.keeper.lonely()
		select {
		case <-ctx.Done():
			return
		case <-late:
			alone = !m.id.newcomer
		case <-tick.C:
		}
		if alone {
			m.becomeReady()
			return
		}
	}
	if m.id.newcomer {
		if err := m.dir.write(certFile, m.id.chain.Encode(), true); err != nil {
			m.fail(err)
			return
		}
	}
	m.becomeReady()
}

// acquainted reports whether a live member is connected.
func (m *Mesh) acquainted() bool {
	for _, p := range m.view.live() {
		if p != m.id.id && m.host.Network().Connectedness(p) == network.Connected {
			return true
		}
	}
	return false
}

func (m *Mesh) becomeReady() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.isReady {
		m.isReady = true
		m.keeper.settle()
		close(m.ready)
	}
}

// connected is called by the host for every connection. It was admitted.
func (m *Mesh) connected(_ network.Network, c network.Conn) {
	p := c.RemotePeer()
	m.host.ConnManager().Protect(p, protectTag)
	m.view.becomeReached(p, time.Now())
	m.keeper.meet(p)
}

func (m *Mesh) disconnected(n network.Network, c network.Conn) {
	if n.Connectedness(c.RemotePeer()) != network.Connected {
		m.keeper.lost(c.RemotePeer())
	}
}

// join exchanges membership with a connected peer.
func (m *Mesh) join(p peer.ID) error {
	if _, err := m.swim.Join([]string{swimName(p)}); err != nil {
		return fmt.Errorf("joining %s: %w", p, err)
	}
	return nil
}

// poke asks a connected peer to assert itself.
func (m *Mesh) poke(p peer.ID) error { return m.tell(p, encodePoke()) }

// tell sends p a piece of news, which may get lost.
func (m *Mesh) tell(p peer.ID, b []byte) error {
	if err := m.swim.SendToAddress(memberlist.Address{Addr: nowhereAddr, Name: p.String()}, b); err != nil {
		return fmt.Errorf("telling %s: %w", p, err)
	}
	return nil
}

// refused is called when a member turned this node away. A newcomer gives up;
// whoever was in before goes on with the others.
func (m *Mesh) refused(err error) {
	m.mu.Lock()
	fatal := m.id.newcomer && !m.isReady
	m.mu.Unlock()
	if fatal {
		m.fail(fmt.Errorf("joining the mesh %s: %w", m.id.mesh, err))
		return
	}
	m.log.Warn("a member refuses this node", "err", err)
}

// fail ends Run with err.
func (m *Mesh) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failure == nil {
		m.failure = err
	}
	m.stop()
}

// Close ends Run as the end of its context does and waits for it. It may be
// called twice, and without Run.
func (m *Mesh) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	stop := m.stop
	m.mu.Unlock()
	if stop != nil {
		stop()
		<-m.done
		return nil
	}
	if !first {
		return nil
	}
	return m.host.Close()
}

// Kill ends the peer without a word to anybody and without saving, as a crash
// would. It is for tests of faults.
func (m *Mesh) Kill() {
	m.mu.Lock()
	m.killed = true
	m.mu.Unlock()
	_ = m.host.Network().Close()
	_ = m.Close()
}
