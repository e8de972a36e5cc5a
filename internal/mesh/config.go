package mesh

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"time"

	ma "github.com/multiformats/go-multiaddr"
)

// Config configures a Mesh. The zero value of a field means its default.
type Config struct {
	// Dir holds keys, certificates and the addresses of known peers. Required.
	Dir string
	// Name is for people; the host's name. Cut to 64 bytes.
	Name string
	// Version of the program, for people.
	Version string
	// Listen are multiaddrs, TCP only; /ip4/0.0.0.0/tcp/0. Port 0 means the
	// port of the last start if it is free, else any.
	Listen []string
	// Join is a token. It may be given again once the node is a member of the
	// token's mesh; then only its addresses are used.
	Join string
	// MDNS looks for members on the local network. It needs a listen address
	// that is not loopback: it multicasts on every interface.
	MDNS bool
	// Boot tells this start of the node from others; random.
	Boot uint64
	// Slots is how many tasks the node runs at once; the number of cores.
	Slots int
	// NoDHTRefresh stops the periodic lookups of the Kademlia table. In a
	// process of many nodes they cost more than all else.
	NoDHTRefresh bool
	// RegionLimit is how many members the failure detector takes on; 256.
	RegionLimit int
	// WAN chooses slower probes: for members far apart, and for many nodes in
	// one process, which answer late when the machine is busy.
	WAN bool
	// Logger; discards.
	Logger *slog.Logger
}

// Bounds of what one member keeps of, or says to, the others.
const (
	// defaultRegion bounds the members of one gossip group: beyond it SWIM and
	// full connectivity cost every node too much.
	defaultRegion = 256
	// spareConns are connections beyond one per member: duplicates from
	// simultaneous dials, and newcomers.
	spareConns = 32
	// maxRoster bounds the chains that are remembered; each has under 2 KiB.
	maxRoster = 4096
	// maxBook bounds the peers whose addresses are kept.
	maxBook = 512
	// maxAddrs bounds the addresses of one peer, maxAddrBytes each of them.
	maxAddrs     = 8
	maxAddrBytes = 128
	maxName      = 64
	maxVersion   = 32
	// maxSlots bounds what a member may claim, so that sums cannot overflow.
	maxSlots = 1 << 16
	// rememberDead is how long a dead or left member stays in Members.
	rememberDead = 10 * time.Minute
)

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	c.Name, c.Version = cut(c.Name, maxName), cut(c.Version, maxVersion)
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
	}
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	if c.RegionLimit == 0 {
		c.RegionLimit = defaultRegion
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for c.Boot == 0 {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		c.Boot = binary.BigEndian.Uint64(b[:])
	}
	return c
}

func cut(s string, n int) string { return s[:min(len(s), n)] }

func (c Config) validate() error {
	if c.Dir == "" {
		return errors.New("opening a mesh: no directory given")
	}
	if len(c.Listen) > maxAddrs {
		return fmt.Errorf("opening a mesh: %d listen addresses, at most %d", len(c.Listen), maxAddrs)
	}
	if c.Slots < 0 || c.Slots > maxSlots || c.RegionLimit < 1 || c.RegionLimit > defaultRegion {
		return fmt.Errorf("opening a mesh: %d slots in a region of %d: at most %d and %d", c.Slots, c.RegionLimit, maxSlots, defaultRegion)
	}
	for _, text := range c.Listen {
		if _, err := parseListen(text); err != nil {
			return err
		}
	}
	return nil
}

// parseListen accepts /ip4/A/tcp/P and /ip6/A/tcp/P and nothing else.
func parseListen(text string) (ma.Multiaddr, error) {
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w; it should look like /ip4/0.0.0.0/tcp/4001", text, err)
	}
	parts := addr.Protocols()
	if len(parts) != 2 || (parts[0].Code != ma.P_IP4 && parts[0].Code != ma.P_IP6) || parts[1].Code != ma.P_TCP {
		return nil, fmt.Errorf("listen address %q: only TCP is served; it should look like /ip4/0.0.0.0/tcp/4001", text)
	}
	return addr, nil
}
