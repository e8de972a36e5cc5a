package exchange

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// sendBlock answers with a block, whatever its name.
func sendBlock(s io.Writer, c protocol.CID, data []byte) {
	_ = writeBlock(s, found{cid: c, data: data, here: true})
}

// lies are ways to answer a request for root, a file of two leaves.
func lies(root protocol.CID, node, leaf []byte) map[string]func(network.Stream) {
	raw := protocol.NewCID(protocol.CodecRaw, leaf)
	return map[string]func(network.Stream){
		"wrong bytes": func(s network.Stream) {
			sendBlock(s, root, []byte("something else"))
		},
		"wrong bytes of a leaf": func(s network.Stream) {
			sendBlock(s, root, node)
			sendBlock(s, raw, leaf[1:])
			_ = writeHeader(s, header{Say: sayEnd})
		},
		"a block that nothing links to": func(s network.Stream) {
			other := []byte("advertisement")
			sendBlock(s, protocol.NewCID(protocol.CodecRaw, other), other)
		},
		"the same block for ever": func(s network.Stream) {
			for writeBlock(s, found{cid: root, data: node, here: true}) == nil {
			}
		},
		"a huge block": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayBlock, CID: root, Size: 1 << 40})
		},
		"a negative block": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayBlock, CID: root, Size: -1})
		},
		"a huge header": func(s network.Stream) {
			_, _ = s.Write(bytes.Repeat([]byte{0xff}, 8))
		},
		"noise": func(s network.Stream) {
			_, _ = s.Write([]byte("\x05hello world, I am not what you think"))
		},
		"nothing at all": func(s network.Stream) {},
		"a reset":        func(s network.Stream) { _ = s.Reset() },
		"an end without the block": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayEnd})
		},
		"half a block": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayBlock, CID: root, Size: int64(len(node))})
			_, _ = s.Write(node[:len(node)/2])
		},
		"a long excuse": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayFailed, Text: string(make([]byte, 900))})
		},
		"a range": func(s network.Stream) {
			_ = writeHeader(s, header{Say: sayRange, Size: 5})
		},
	}
}

func TestLiarsAreFollowedByTheNext(t *testing.T) {
	honest := newNode(t)
	data := noise(1, mib+100)
	root := honest.add(t, data)
	node, err := honest.store.Get(t.Context(), root)
	ok(t, err)
	for name, answer := range lies(root, node, data[:mib]) {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			bad := liar(t, answer)
			if err := n.x.FetchDAG(timely(t), root, n.knows(bad)); !errors.Is(err, ErrUnavailable) {
				t.Fatalf("the liar alone: %v", err)
			} else if len(err.Error()) > 1000 {
				t.Fatalf("an error of %d bytes", len(err.Error()))
			}
			ok(t, n.x.FetchDAG(timely(t), root, n.knows(bad, honest)))
			if !bytes.Equal(n.read(t, root), data) {
				t.Fatal("other bytes")
			}
			blocks, _ := n.store.Stats()
			if blocks != 3 {
				t.Fatalf("%d blocks are kept", blocks)
			}
		})
	}
}

func TestSourceDiesMidway(t *testing.T) {
	honest, n := newNode(t), newNode(t)
	data := noise(5, 6*mib)
	root := honest.add(t, data)
	node, err := honest.store.Get(t.Context(), root)
	ok(t, err)
	dying := liar(t, func(s network.Stream) {
		sendBlock(s, root, node)
		for i := range 3 {
			leaf := data[i*mib:][:mib]
			sendBlock(s, protocol.NewCID(protocol.CodecRaw, leaf), leaf)
		}
		_ = s.Conn().Close()
	})
	ok(t, n.x.FetchDAG(timely(t), root, n.knows(dying, honest)))
	if !bytes.Equal(n.read(t, root), data) {
		t.Fatal("other bytes")
	}
}

func TestRangeOfALiar(t *testing.T) {
	honest, n := newNode(t), newNode(t)
	data := noise(6, 2*mib)
	file := honest.add(t, data)
	bad := liar(t, func(s network.Stream) {
		_ = writeHeader(s, header{Say: sayRange, Size: mib + 10})
		_, _ = s.Write(make([]byte, mib+10))
	})
	short := liar(t, func(s network.Stream) {
		_ = writeHeader(s, header{Say: sayRange, Size: mib + 10})
		_, _ = s.Write(data[5:100])
	})
	want := data[5 : mib+15]
	var out bytes.Buffer
	ok(t, n.x.FetchRange(timely(t), file, 5, int64(len(want)), sha256.Sum256(want), n.knows(bad, short, honest), &out))
	if !bytes.Equal(out.Bytes(), want) {
		t.Fatal("other bytes")
	}
}

// TestCancel has a source that says nothing until it is let go.
func TestCancel(t *testing.T) {
	n := newNode(t)
	asked, release := make(chan struct{}, 8), make(chan struct{})
	silent := liar(t, func(s network.Stream) {
		asked <- struct{}{}
		<-release
	})
	defer close(release)
	ctx, cancel := context.WithCancel(timely(t))
	result := make(chan error)
	c := protocol.NewCID(protocol.CodecRaw, []byte("x"))
	go func() { result <- n.x.FetchDAG(ctx, c, n.knows(silent)) }()
	<-asked
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	// Close ends a shared fetch as well.
	go func() { result <- n.x.FetchDAG(timely(t), c, n.knows(silent)) }()
	<-asked
	n.x.Close()
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestSilentSourceIsGivenUp(t *testing.T) {
	honest, n := newNode(t), newNode(t)
	n.x.idle = 3 * time.Second // enough for the honest one on a busy machine
	root := honest.add(t, []byte("patience"))
	release := make(chan struct{})
	silent := liar(t, func(network.Stream) { <-release })
	defer close(release)
	ok(t, n.x.FetchDAG(timely(t), root, n.knows(silent, honest)))
}

// TestSourceKnownToBeGone holds that a source which hangs is left as soon as
// somebody knows, and that the next is asked.
func TestSourceKnownToBeGone(t *testing.T) {
	honest, n := newNode(t), newNode(t)
	root := honest.add(t, noise(7, 64<<10))
	asked, release := make(chan struct{}), make(chan struct{})
	silent := liar(t, func(network.Stream) {
		close(asked)
		<-release
	})
	defer close(release)
	n.x.idle = time.Hour
	n.x.while = func(ctx context.Context, p peer.ID) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		if p == silent.ID() {
			go func() { <-asked; cancel() }()
		}
		return ctx, cancel
	}
	ok(t, n.x.FetchDAG(timely(t), root, n.knows(silent, honest)))
}

func TestBadRequestsAreRefused(t *testing.T) {
	server, client := newNode(t), newHost(t)
	c := server.add(t, []byte("x"))
	many := make([]protocol.CID, maxWanted+1)
	for i := range many {
		many[i] = c
	}
	for name, frame := range map[string][]byte{
		"no blocks":        protocol.Encode(request{Kind: askDAG}),
		"too many":         protocol.Encode(request{Kind: askDAG, CIDs: many}),
		"no name":          protocol.Encode(request{Kind: askDAG, CIDs: []protocol.CID{""}}),
		"unknown kind":     protocol.Encode(request{Kind: 9, CIDs: []protocol.CID{c}}),
		"overflowing":      protocol.Encode(request{Kind: askRange, CIDs: []protocol.CID{c}, Offset: 1 << 62, Length: 1 << 62}),
		"a range of two":   protocol.Encode(request{Kind: askRange, CIDs: []protocol.CID{c, c}}),
		"not CBOR":         []byte("GET / HTTP/1.1"),
		"an empty request": {},
	} {
		client.Peerstore().AddAddrs(server.ID(), server.Addrs(), patience)
		s, err := client.NewStream(timely(t), server.ID(), protocol.BlockProtocol)
		ok(t, err)
		ok(t, protocol.WriteFrame(s, frame))
		if b, err := io.ReadAll(s); err == nil && len(b) > 0 {
			t.Errorf("%s: answered with %d bytes", name, len(b))
		}
		_ = s.Reset()
	}
}

func TestTooManyStreamsOfOnePeer(t *testing.T) {
	server, client := newNode(t), newNode(t)
	c := server.add(t, noise(7, 64*mib)) // more than the windows of its streams take
	client.knows(server)
	said := make(chan int, 100)
	ctx := timely(t)
	streams := maxServedPeer + maxQueuedPeer + 5
	held := make(chan network.Stream, streams)
	for range streams {
		s, err := client.NewStream(ctx, server.ID(), protocol.BlockProtocol)
		ok(t, err)
		held <- s
		ok(t, protocol.WriteFrame(s, protocol.Encode(request{Kind: askDAG, CIDs: []protocol.CID{c}})))
		go func() {
			h, err := readHeader(bufio.NewReaderSize(s, 16))
			if err != nil {
				h.Say = -1
			}
			said <- h.Say
		}()
	}
	count := map[int]int{}
	for range streams {
		count[<-said]++
	}
	if count[sayBlock] != maxServedPeer || count[sayBusy] != streams-maxServedPeer {
		t.Fatalf("served %d, sent %d away, failed %d", count[sayBlock], count[sayBusy], count[-1])
	}
	for range streams {
		_ = (<-held).Reset()
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	current := goleak.IgnoreCurrent()
	func() {
		s, err := storage.Open(t.TempDir())
		ok(t, err)
		defer s.Close()
		h := newHost(t)
		defer h.Close()
		x := New(Config{Host: h, Store: s})
		x.Start()
		x.Start()
		defer x.Close()
		other := newNode(t)
		c := other.add(t, noise(8, 3*mib))
		h.Peerstore().AddAddrs(other.ID(), other.Addrs(), patience)
		ok(t, x.FetchDAG(timely(t), c, other.knows(other)))
		other.x.Close()
		other.x.Close()
		ok(t, other.Close())
		ok(t, other.store.Close())
	}()
	goleak.VerifyNone(t, current)
}
