package mesh

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
)

// Profiles of the failure detector. A death is noticed within about
// probe + suspicion * log10(N) * probe; the suspected one has that long to
// refute.
const (
	probeLAN        = 250 * time.Millisecond
	probeTimeoutLAN = 200 * time.Millisecond
	probeWAN        = 2 * time.Second
	probeTimeoutWAN = time.Second
	// indirect is how many others are asked before one that does not answer
	// is suspected.
	indirect = 3
	// suspicion is a multiple of the probe interval; four times that at most
	// while nobody else confirms it.
	suspicion    = 3
	maxSuspicion = 4
	// gossipEvery spreads news faster than probes would carry it.
	gossipEvery = 100 * time.Millisecond
	// syncEvery is how often two members exchange all they know, so that lost
	// news are made up for.
	syncEvery = 15 * time.Second
	// talkTime bounds such an exchange.
	talkTime = 5 * time.Second
	// leaveTime bounds how long a leaving node waits for its news to go out.
	leaveTime = time.Second
)

// newSwim starts the failure detector on the wire.
func newSwim(m *Mesh, w *wire) (*memberlist.Memberlist, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = m.id.id.String()
	c.Transport, c.RequireNodeNames = w, true
	c.ProbeInterval, c.ProbeTimeout = probeLAN, probeTimeoutLAN
	if m.cfg.WAN {
		c.ProbeInterval, c.ProbeTimeout = probeWAN, probeTimeoutWAN
	}
	c.IndirectChecks, c.SuspicionMult, c.SuspicionMaxTimeoutMult = indirect, suspicion, maxSuspicion
	c.GossipInterval, c.PushPullInterval, c.TCPTimeout = gossipEvery, syncEvery, talkTime
	c.EnableCompression = false // packets fit as they are
	c.DisableTcpPings = true    // packets are on a connection already
	c.Logger = log.New(swimLog{m.log}, "", 0)
	d := &delegate{m: m}
	c.Delegate, c.Events, c.Alive, c.Ping = d, d, d, d
	ml, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("starting the failure detector: %w", err)
	}
	return ml, nil
}

// swimName is how memberlist's Join wants a member named.
func swimName(p peer.ID) string {
	return p.String() + "/" + nowhereAddr
}

// delegate is what the failure detector asks and tells. It is called with
// memberlist's locks held, so it must not call memberlist back.
type delegate struct{ m *Mesh }

func (d *delegate) NodeMeta(limit int) []byte { return d.m.meta().encode(limit) }

func (d *delegate) NotifyMsg(b []byte) { d.m.news.receive(b) }

func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.m.news.queue.GetBroadcasts(overhead, limit)
}

// syncSome is how many chains ride with a regular exchange. A join carries
// all of them.
const syncSome = 32

func (d *delegate) LocalState(join bool) []byte {
	n := syncSome
	if join {
		n = maxRoster
	}
	return encodeEntries(d.m.roster.some(n))
}

func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if _, err := d.m.roster.merge(b, time.Now()); err != nil {
		d.m.log.Debug("members not merged", "err", err)
	}
	d.m.view.review(time.Now())
}

// NotifyAlive refuses members that are malformed or beyond the region.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	p, err := peer.Decode(n.Name)
	if err != nil {
		return fmt.Errorf("a member's name: %w", err)
	}
	if p == d.m.id.id {
		return nil
	}
	if _, err := decodeMeta(n.Meta); err != nil {
		return err
	}
	if state, _ := d.m.view.state(p); state != StateAlive && state != StateSuspect && d.m.view.ups() >= d.m.cfg.RegionLimit {
		return fmt.Errorf("%w: %d members", ErrFull, d.m.cfg.RegionLimit)
	}
	return nil
}

func (d *delegate) NotifyJoin(n *memberlist.Node) { d.up(n) }

func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.up(n) }

func (d *delegate) up(n *memberlist.Node) {
	p, err := peer.Decode(n.Name)
	if err != nil {
		return
	}
	m, err := decodeMeta(n.Meta)
	if err != nil {
		return
	}
	d.m.view.becomeUp(p, m, time.Now())
	if p == d.m.id.id {
		return
	}
	d.m.log.Debug("member up", "peer", p, "name", m.Name, "boot", m.Boot)
	addrs := m.addrs()
	d.m.host.Peerstore().AddAddrs(p, addrs, peerstore.PermanentAddrTTL)
	d.m.book.add(p, addrs, time.Now())
	d.m.keeper.meet(p)
}

func (d *delegate) NotifyLeave(n *memberlist.Node) {
	p, err := peer.Decode(n.Name)
	if err != nil || p == d.m.id.id {
		return
	}
	d.m.log.Debug("member down", "peer", p)
	d.m.view.becomeDown(p, time.Now())
	d.m.keeper.meet(p)
}

func (d *delegate) AckPayload() []byte { return nil }

func (d *delegate) NotifyPingComplete(n *memberlist.Node, _ time.Duration, _ []byte) {
	if p, err := peer.Decode(n.Name); err == nil {
		d.m.view.heardOf(p)
	}
}

// swimLog turns memberlist's log lines into debug records: what matters of
// them reaches this package as events.
type swimLog struct{ log *slog.Logger }

func (l swimLog) Write(line []byte) (int, error) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("failure detector", "says", strings.TrimSpace(string(line)))
	}
	return len(line), nil
}
