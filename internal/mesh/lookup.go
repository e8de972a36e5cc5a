package mesh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/meshnode/meshnode/protocol"
)

// newDHT starts the mesh's own Kademlia table. It answers where a member is
// that this node cannot reach by what it knows. Its store for values and
// providers is off: nothing here publishes any.
func newDHT(h host.Host, member func(peer.ID) bool, refresh bool) (*dht.IpfsDHT, error) {
	opts := []dht.Option{
		dht.Mode(dht.ModeServer),
		dht.ProtocolPrefix(protocol.DHTPrefix),
		dht.RoutingTableFilter(func(_ any, p peer.ID) bool { return member(p) }),
		dht.QueryFilter(func(_ any, info peer.AddrInfo) bool { return member(info.ID) }),
		dht.DisableValues(),
		dht.DisableProviders(),
	}
	if !refresh {
		opts = append(opts, dht.DisableAutoRefresh())
	}
	d, err := dht.New(h, opts...)
	if err != nil {
		return nil, fmt.Errorf("starting the DHT: %w", err)
	}
	return d, nil
}

var errNoAddress = errors.New("no address is known")

// lookup asks the DHT where p is.
func lookup(ctx context.Context, d *dht.IpfsDHT, p peer.ID) ([]peer.AddrInfo, error) {
	if d.RoutingTable().Size() == 0 {
		return nil, errNoAddress // with an empty table every lookup fails
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	info, err := d.FindPeer(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("looking for %s: %w", p, err)
	}
	return []peer.AddrInfo{info}, nil
}

// newMDNS looks for members of the same mesh on the local network. It returns
// nil when every listen address is loopback, since it would then only disturb.
func newMDNS(m *Mesh) (mdns.Service, error) {
	outside := false
	for _, a := range m.host.Network().ListenAddresses() {
		outside = outside || !manet.IsIPLoopback(a)
	}
	if !outside {
		m.log.Warn("mdns is off: every listen address is loopback")
		return nil, nil
	}
	s := mdns.NewMdnsService(m.host, mdnsName(m.id.mesh), finder{m})
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("starting mdns: %w; start without --mdns, other nodes then find this one by token only", err)
	}
	return s, nil
}

// mdnsName tells meshes apart on one network without naming them.
func mdnsName(mesh peer.ID) string {
	id := strings.ToLower(mesh.String())
	return "_meshnode-" + id[len(id)-8:] + "._udp"
}

type finder struct{ m *Mesh }

// HandlePeerFound takes a found address as a hint; whoever answers there must
// prove to be a member. Strangers must not push members out of the book.
func (f finder) HandlePeerFound(info peer.AddrInfo) {
	if info.ID == f.m.id.id || (!f.m.roster.isMember(info.ID) && len(f.m.book.peers()) > maxBook/2) {
		return
	}
	f.m.book.hint(info.ID, info.Addrs, time.Now())
	f.m.keeper.meet(info.ID)
}
