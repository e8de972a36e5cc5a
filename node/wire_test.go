package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/protocol"
)

var quiet = slog.New(slog.DiscardHandler)

// twoHosts returns two connected hosts on loopback.
func twoHosts(t *testing.T) (host.Host, host.Host) {
	t.Helper()
	var hosts [2]host.Host
	for i := range hosts {
		h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.DisableMetrics(), libp2p.DisableRelay())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close() })
		hosts[i] = h
	}
	if err := hosts[0].Connect(t.Context(), peer.AddrInfo{ID: hosts[1].ID(), Addrs: hosts[1].Addrs()}); err != nil {
		t.Fatal(err)
	}
	return hosts[0], hosts[1]
}

func TestWireKeepsOrder(t *testing.T) {
	a, b := twoHosts(t)
	const n = 500
	got := make(chan uint64, n)
	to := newWire(b, quiet, func(_ context.Context, from peer.ID, m protocol.Message) {
		if from != a.ID() {
			t.Errorf("a message from %s", from)
		}
		got <- m.(*protocol.Ping).Boot
	})
	to.start()
	defer to.close()
	from := newWire(a, quiet, nil)
	defer from.close()
	for i := range uint64(n) {
		from.send(b.ID(), &protocol.Ping{Boot: i})
	}
	for i := range uint64(n) {
		select {
		case boot := <-got:
			if boot != i {
				t.Fatalf("message %d came as number %d", boot, i)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("message %d did not come", i)
		}
	}
}

// TestWireNeverBlocks sends to a peer that reads nothing, and to one that is
// not there.
func TestWireNeverBlocks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	a, b := twoHosts(t)
	from := newWire(a, quiet, nil)
	for range 3 * maxOutbox {
		from.send(b.ID(), &protocol.Ping{}) // b has no handler
		from.send("\x00\x01x", &protocol.Ping{})
	}
	from.close()
	from.send(b.ID(), &protocol.Ping{}) // after close: nothing
	_, _ = a.Close(), b.Close()
	goleak.VerifyNone(t, before)
}

func TestWireDropsBadMessages(t *testing.T) {
	a, b := twoHosts(t)
	to := newWire(b, quiet, func(context.Context, peer.ID, protocol.Message) { t.Error("a bad message was received") })
	to.start()
	defer to.close()
	s, err := a.NewStream(t.Context(), b.ID(), protocol.JobProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := protocol.WriteFrame(s, []byte{255, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	_ = s.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := s.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the stream stayed open: %v", err)
	}
}

func TestCalls(t *testing.T) {
	a, b := twoHosts(t)
	hang := make(chan struct{})
	ended := make(chan error, 1)
	server := newCaller(b, quiet, func(ctx context.Context, _ peer.ID, q *protocol.Request) *protocol.Answer {
		if q.Jobs != nil {
			close(hang)
			<-ctx.Done()
			ended <- ctx.Err()
			return &protocol.Answer{}
		}
		if q.Status != nil {
			return &protocol.Answer{Error: "no such thing"}
		}
		return &protocol.Answer{Boot: 7, Held: make([]bool, len(q.Held.Roots))}
	})
	server.start()
	defer server.close()
	client := newCaller(a, quiet, nil)
	defer client.close()

	root := protocol.NewCID(protocol.CodecRaw, nil)
	answer, err := client.call(t.Context(), b.ID(), &protocol.Request{Held: &protocol.Held{Roots: []protocol.CID{root}}}, 20*time.Second)
	if err != nil || answer.Boot != 7 || len(answer.Held) != 1 {
		t.Fatalf("answer %+v, %v", answer, err)
	}
	_, err = client.call(t.Context(), b.ID(), &protocol.Request{Status: &protocol.JobRef{Job: root}}, 20*time.Second)
	var remote remoteError
	if !errors.As(err, &remote) || remote != "no such thing" {
		t.Fatalf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-hang; cancel() }()
	if _, err = client.call(ctx, b.ID(), &protocol.Request{Jobs: &protocol.JobList{Limit: 1}}, 20*time.Second); !errors.Is(err, context.Canceled) {
		t.Fatalf("a cancelled call: %v", err)
	}
	select {
	case <-ended: // the one who serves it learns that nobody waits
	case <-time.After(20 * time.Second):
		t.Fatal("a call that nobody waits for goes on")
	}
	if _, err := client.call(t.Context(), b.ID(), &protocol.Request{}, 20*time.Second); err == nil {
		t.Fatal("an empty request was served")
	}
}

func TestTail(t *testing.T) {
	var long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	if got := tail([]byte(long.String())); !bytes.HasPrefix(got, []byte("line 80\n")) || bytes.Count(got, []byte("\n")) != tailLines {
		t.Errorf("the tail is %q", got)
	}
	if got := tail([]byte("one\ntwo")); string(got) != "one\ntwo" {
		t.Errorf("the tail is %q", got)
	}
	if got := tail(bytes.Repeat([]byte("x"), 3*protocol.MaxTail)); len(got) != protocol.MaxTail {
		t.Errorf("the tail has %d bytes", len(got))
	}
}
