package mesh

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// connectTimeout bounds waiting for a TCP answer: on a LAN it takes
	// milliseconds, across the world half a second. dialTimeout bounds the
	// handshakes too: on an overloaded machine they take seconds, and a
	// handshake that is given up half-way only adds to the load.
	connectTimeout = 5 * time.Second
	dialTimeout    = 15 * time.Second
	// Streams: a peer has a handful open for the mesh itself, and the node's
	// calls and block transfers.
	maxStreams     = 16 << 10
	maxPeerStreams = 1 << 10
	// maxPeerConns leaves room for simultaneous dials, and for reconnecting
	// while the old connection has not yet been found dead.
	maxPeerConns = 8
	// maxHandshakes bounds connections that are not yet admitted.
	maxHandshakes = 128
	// maxStreamMemory bounds what all streams together buffer.
	maxStreamMemory = 512 << 20
	// Many members may share one address: a NAT, or one machine. New
	// connections of one address are limited to these, loopback excepted.
	addrConnRate  = 50
	addrConnBurst = 2 * defaultRegion
)

// newHost makes a host that does not listen yet: TCP and TLS with admission,
// and nothing that looks for relays, gateways or public addresses.
func newHost(cfg Config, id *identity, g *gate) (host.Host, error) {
	resources, err := newResources(cfg.RegionLimit)
	if err != nil {
		return nil, fmt.Errorf("making the host: %w", err)
	}
	conns, err := connmgr.NewConnManager(cfg.RegionLimit+spareConns, cfg.RegionLimit+2*spareConns, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the host: %w", err), resources.Close())
	}
	h, err := libp2p.New(
		libp2p.Identity(id.key),
		libp2p.NoListenAddrs,
		// With the port reused for dialing, two nodes could share a port and
		// neither would be told.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(connectTimeout)),
		libp2p.Security(libp2ptls.ID, newAdmission(g)),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(resources),
		libp2p.ConnectionManager(conns),
		libp2p.UserAgent("meshnode/"+cfg.Version),
		libp2p.Ping(false),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ForceReachabilityPublic(), // which turns AutoNAT off
		libp2p.SwarmOpts(swarm.WithDialTimeout(dialTimeout), swarm.WithDialTimeoutLocal(dialTimeout)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the host: %w", err), conns.Close(), resources.Close())
	}
	return h, nil
}

// newResources limits what connections may cost. libp2p's own limits per
// address (8 connections, one new one in 5 s) would refuse most members behind
// one NAT.
func newResources(region int) (network.ResourceManager, error) {
	conns := rcmgr.LimitVal(region + 4*spareConns)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: 2 * conns, ConnsInbound: 2 * conns, ConnsOutbound: 2 * conns, FD: 2 * conns,
			Streams: maxStreams, StreamsInbound: maxStreams, StreamsOutbound: maxStreams, Memory: maxStreamMemory,
		},
		Transient: rcmgr.ResourceLimits{
			Conns: maxHandshakes, ConnsInbound: maxHandshakes, ConnsOutbound: maxHandshakes, FD: maxHandshakes,
			Streams: maxPeerStreams, StreamsInbound: maxPeerStreams, StreamsOutbound: maxPeerStreams,
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: maxPeerConns, ConnsInbound: maxPeerConns, ConnsOutbound: maxPeerConns, FD: maxPeerConns,
			Streams: maxPeerStreams, StreamsInbound: maxPeerStreams, StreamsOutbound: maxPeerStreams,
		},
	}
	perAddress := func(prefix int) []rcmgr.ConnLimitPerSubnet {
		return []rcmgr.ConnLimitPerSubnet{{PrefixLength: prefix, ConnCount: int(conns)}}
	}
	rates := &rate.Limiter{
		NetworkPrefixLimits: loopbackRates(),
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: addrConnRate, Burst: addrConnBurst}}},
			IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: addrConnRate, Burst: addrConnBurst}}},
			GracePeriod:      time.Minute,
		},
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Build(rcmgr.InfiniteLimits)),
		rcmgr.WithLimitPerSubnet(perAddress(32), perAddress(56)),
		rcmgr.WithConnRateLimiters(rates),
		rcmgr.WithMetricsDisabled())
}

// loopbackRates exempts this machine: a process may hold a whole mesh.
func loopbackRates() []rate.PrefixLimit {
	var out []rate.PrefixLimit
	for _, l := range slices.Concat(rcmgr.DefaultNetworkPrefixLimitV4, rcmgr.DefaultNetworkPrefixLimitV6) {
		if l.ConnCount == math.MaxInt {
			out = append(out, rate.PrefixLimit{Prefix: l.Network})
		}
	}
	return out
}

// listen opens the listeners. A port that was left to choice is that of the
// last start where possible, so that those who knew the node find it again.
func listen(h host.Host, cfg Config, dir home) error {
	for _, text := range cfg.Listen {
		addr, err := parseListen(text)
		if err != nil {
			return err
		}
		if port, _ := addr.ValueForProtocol(ma.P_TCP); port == "0" && len(cfg.Listen) == 1 {
			if last := lastPort(dir, addr); last != nil && h.Network().Listen(last) == nil {
				continue
			}
		}
		if err := h.Network().Listen(addr); err != nil {
			return listenError(text, err)
		}
	}
	return savePort(h, dir)
}

func listenError(text string, err error) error {
	// The swarm joins errors as text, so errors.Is finds nothing in them.
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) {
		return fmt.Errorf("listening on %s: address already in use: another program, or another meshnode, has this port; choose another with --listen, or let the system choose with /tcp/0", text)
	}
	return fmt.Errorf("listening on %s: %w; choose another address with --listen", text, err)
}

// lastPort is addr with the port of the last start, or nil.
func lastPort(dir home, addr ma.Multiaddr) ma.Multiaddr {
	b, err := dir.read(portFile)
	if err != nil || b == nil {
		return nil
	}
	port, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 16)
	if err != nil || port == 0 {
		return nil
	}
	last, err := ma.NewMultiaddr("/tcp/" + strconv.FormatUint(port, 10))
	if err != nil {
		return nil
	}
	return addr.Decapsulate(ma.StringCast("/tcp/0")).Encapsulate(last)
}

func savePort(h host.Host, dir home) error {
	for _, addr := range h.Network().ListenAddresses() {
		if port, err := addr.ValueForProtocol(ma.P_TCP); err == nil {
			return dir.write(portFile, []byte(port+"\n"), false)
		}
	}
	return nil
}
