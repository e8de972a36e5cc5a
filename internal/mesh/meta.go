package mesh

import (
	"fmt"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/meshnode/meshnode/protocol"
)

// meta is what a member says of itself through the failure detector, in at
// most memberlist.MetaMaxSize (512) bytes.
type meta struct {
	_       struct{} `cbor:",toarray"`
	Name    string
	Version string
	Boot    uint64
	Slots   int
	Addrs   [][]byte // multiaddrs without /p2p/ID, best first
}

// encode leaves out the last addresses when all do not fit.
func (m meta) encode(limit int) []byte {
	m.Addrs = m.Addrs[:min(len(m.Addrs), maxAddrs)]
	for {
		b := protocol.Encode(m)
		if len(b) <= limit || len(m.Addrs) == 0 {
			return b
		}
		m.Addrs = m.Addrs[:len(m.Addrs)-1]
	}
}

// decodeMeta reads and bounds what another member says of itself.
func decodeMeta(b []byte) (meta, error) {
	var m meta
	if err := protocol.Decode(b, &m); err != nil {
		return meta{}, err
	}
	if len(m.Name) > maxName || len(m.Version) > maxVersion || len(m.Addrs) > maxAddrs || m.Slots < 0 || m.Slots > maxSlots {
		return meta{}, fmt.Errorf("decoding a member's description: out of bounds")
	}
	return m, nil
}

// addrs are the member's addresses; malformed ones are left out.
func (m meta) addrs() []ma.Multiaddr { return decodeAddrs(m.Addrs) }

func decodeAddrs(encoded [][]byte) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, b := range encoded {
		if len(b) > maxAddrBytes {
			continue
		}
		if a, err := ma.NewMultiaddrBytes(b); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// bestFirst orders addresses by how far they reach: others of this machine's
// networks before its loopback, and nothing that is valid on one link only.
func bestFirst(addrs []ma.Multiaddr) []ma.Multiaddr {
	var far, near []ma.Multiaddr
	for _, a := range addrs {
		switch {
		case manet.IsIP6LinkLocal(a):
		case manet.IsIPLoopback(a):
			near = append(near, a)
		default:
			far = append(far, a)
		}
	}
	return append(far, near...)
}

func encodeAddrs(addrs []ma.Multiaddr) [][]byte {
	var out [][]byte
	for _, a := range addrs {
		if len(out) < maxAddrs && len(a.Bytes()) <= maxAddrBytes {
			out = append(out, a.Bytes())
		}
	}
	return out
}
