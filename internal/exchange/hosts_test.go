package exchange

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// patience bounds every test that could hang.
const patience = time.Minute

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHost(t testing.TB) host.Host {
	t.Helper()
	h, err := libp2p.New(
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(),
	)
	ok(t, err)
	t.Cleanup(func() { ok(t, h.Close()) })
	return h
}

// node is a host with a store and an exchange.
type node struct {
	host.Host
	store *storage.Store
	x     *Exchange
}

func newNode(t testing.TB) *node {
	t.Helper()
	s, err := storage.OpenConfig(storage.Config{Dir: t.TempDir(), Volatile: true})
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	h := newHost(t)
	x := New(Config{Host: h, Store: s})
	x.Start()
	t.Cleanup(x.Close)
	return &node{Host: h, store: s, x: x}
}

// knows makes n able to dial the others, and returns their IDs.
func (n *node) knows(others ...host.Host) []peer.ID {
	var ids []peer.ID
	for _, o := range others {
		n.Peerstore().AddAddrs(o.ID(), o.Addrs(), peerstore.PermanentAddrTTL)
		ids = append(ids, o.ID())
	}
	return ids
}

// add stores data as a file.
func (n *node) add(t testing.TB, data []byte) protocol.CID {
	t.Helper()
	c, _, err := storage.Write(t.Context(), n.store, bytes.NewReader(data))
	ok(t, err)
	return c
}

func (n *node) read(t testing.TB, c protocol.CID) []byte {
	t.Helper()
	f, err := storage.NewFile(t.Context(), n.store, c)
	ok(t, err)
	var out bytes.Buffer
	_, err = f.WriteTo(&out)
	ok(t, err)
	return out.Bytes()
}

// liar is a host that answers block requests as it likes.
func liar(t testing.TB, answer func(s network.Stream)) host.Host {
	t.Helper()
	h := newHost(t)
	h.SetStreamHandler(protocol.BlockProtocol, func(s network.Stream) {
		defer s.Close()
		answer(s)
	})
	return h
}

func timely(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// noise is n bytes that differ from block to block and from seed to seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	x := seed*2862933555777941757 + 3037000493
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
