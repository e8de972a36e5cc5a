package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// packetQueue bounds the packets that wait for one peer. A late probe is
	// worse than a lost one, so it is short.
	packetQueue = 16
	// packetTime bounds writing to a stream. Opening it may have to dial first,
	// which takes dialTimeout: to give up early would waste half a handshake,
	// and on a loaded machine make it later still.
	packetTime = time.Second
	// idleTime is after which an unused stream is closed. In a small mesh
	// every member is probed more often; in a large one streams that wait for
	// their next packet would cost more than opening them anew.
	idleTime = 3 * time.Second
	// yieldDial is how long the peer with the greater ID waits before it dials
	// for a packet.
	yieldDial = 500 * time.Millisecond
	// maxPacket bounds a packet: memberlist fills up to 1,400 bytes.
	maxPacket = 4 << 10
	// inbox bounds packets that arrived and wait for memberlist.
	inbox = 128

	// The first byte on a stream says what follows: packets, each behind its
	// length in two bytes, or one conversation of memberlist's.
	packetsFollow = 'p'
	talkFollows   = 't'
)

// The failure detector knows members by name alone; it wants addresses all the
// same, and would take a changed one for a conflict.
const (
	nowhere     = "127.0.0.1"
	nowherePort = 1
	nowhereAddr = "127.0.0.1:1"
)

// wire carries memberlist's packets and streams over the host's connections,
// as its NodeAwareTransport. Packets to one peer share one stream, which stays
// open; they are dropped when it is slow.
type wire struct {
	host   host.Host
	member func(peer.ID) bool
	heard  func(peer.ID)
	log    *slog.Logger

	packets chan *memberlist.Packet
	talks   chan net.Conn

	ctx    context.Context // of the wire's own life, ended by Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	outs   map[peer.ID]*outbound
}

// outbound is what waits for one peer. While anything does, one goroutine
// sends it.
type outbound struct {
	queue   [][]byte
	sending bool
	stream  network.Stream // the sending goroutine's while there is one
	used    time.Time
}

// newWire ends when ctx does, or Shutdown is called.
func newWire(ctx context.Context, h host.Host, member func(peer.ID) bool, heard func(peer.ID), log *slog.Logger) *wire {
	w := &wire{
		host: h, member: member, heard: heard, log: log,
		packets: make(chan *memberlist.Packet, inbox),
		talks:   make(chan net.Conn),
		outs:    map[peer.ID]*outbound{},
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	h.SetStreamHandler(protocol.GossipProtocol, w.accept)
	return w
}

// begin counts a goroutine in, unless the wire is shut down.
func (w *wire) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.wg.Add(1)
	}
	return !w.closed
}

// WriteToAddress queues a packet. It never fails: memberlist takes an error
// for a fault of its own and stops probing.
func (w *wire) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	now := time.Now()
	p, err := peer.Decode(addr.Name)
	if err != nil || len(b) > maxPacket {
		w.log.Debug("packet dropped", "to", addr.Name, "bytes", len(b))
		return now, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.outs[p]
	if out == nil {
		out = &outbound{}
		w.outs[p] = out
	}
	if w.closed || len(out.queue) >= packetQueue {
		return now, nil
	}
	out.queue = append(out.queue, b)
	if !out.sending {
		out.sending = true
		w.wg.Add(1)
		go w.send(p, out)
	}
	return now, nil
}

// send writes what is queued for p and ends when nothing is left.
func (w *wire) send(p peer.ID, out *outbound) {
	defer w.wg.Done()
	for {
		w.mu.Lock()
		batch := out.queue
		out.queue = nil
		if len(batch) == 0 || w.closed {
			out.sending, out.used = false, time.Now()
			if out.stream == nil || w.closed {
				delete(w.outs, p)
			}
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		fresh := out.stream == nil
		err := w.write(p, out, batch)
		if err != nil && (!fresh || errors.Is(err, errConnected)) {
			err = w.write(p, out, batch) // the stream may have died long ago
		}
		if err != nil {
			w.log.Debug("packets lost", "to", p, "packets", len(batch), "err", err)
		}
	}
}

// write sends a batch on the peer's stream, opening it first where needed.
func (w *wire) write(p peer.ID, out *outbound, batch [][]byte) error {
	var frames []byte
	if out.stream == nil {
		ctx, cancel := context.WithTimeout(w.ctx, dialTimeout)
		w.yield(ctx, p)
		s, err := w.host.NewStream(ctx, p, protocol.GossipProtocol)
		cancel()
		if err != nil {
			return err
		}
		out.stream = s
		frames = append(frames, packetsFollow)
	}
	for _, b := range batch {
		frames = append(binary.BigEndian.AppendUint16(frames, uint16(len(b))), b...)
	}
	err := out.stream.SetWriteDeadline(time.Now().Add(packetTime))
	if err == nil {
		_, err = out.stream.Write(frames)
	}
	if err != nil {
		_ = out.stream.Reset()
		out.stream = nil
	}
	return err
}

// yield leaves the first dial to the peer with the lesser ID for a moment, so
// that two who get acquainted end up with one connection.
func (w *wire) yield(ctx context.Context, p peer.ID) {
	if w.host.ID() < p {
		return
	}
	tick := time.NewTicker(yieldWait / 4)
	defer tick.Stop()
	end := time.After(yieldDial)
	for w.host.Network().Connectedness(p) != network.Connected {
		select {
		case <-tick.C:
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// accept serves a stream that a member opened.
func (w *wire) accept(s network.Stream) {
	if !w.begin() {
		_ = s.Reset()
		return
	}
	defer w.wg.Done()
	var kind [1]byte
	err := s.SetReadDeadline(time.Now().Add(packetTime))
	if err == nil {
		_, err = io.ReadFull(s, kind[:])
	}
	if err == nil {
		err = s.SetReadDeadline(time.Time{})
	}
	p := s.Conn().RemotePeer()
	switch {
	case err != nil || !w.member(p):
		_ = s.Reset()
	case kind[0] == packetsFollow:
		w.receive(s, p)
	case kind[0] == talkFollows:
		select {
		case w.talks <- talk{s}:
		case <-w.ctx.Done():
			_ = s.Reset()
		}
	default:
		_ = s.Reset()
	}
}

// receive hands the packets of one stream to memberlist, until it ends.
func (w *wire) receive(s network.Stream, p peer.ID) {
	stop := context.AfterFunc(w.ctx, func() { _ = s.Reset() })
	defer stop()
	defer func() { _ = s.Reset() }()
	for {
		var head [2]byte
		if _, err := io.ReadFull(s, head[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint16(head[:])
		if n > maxPacket {
			w.log.Warn("packet too long", "from", p, "bytes", n)
			return
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(s, b); err != nil {
			return
		}
		w.heard(p)
		select {
		case w.packets <- &memberlist.Packet{Buf: b, From: address(p), Timestamp: time.Now()}:
		default: // memberlist is behind; a packet may be lost
		}
	}
}

// DialAddressTimeout opens a stream for one conversation.
func (w *wire) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	p, err := peer.Decode(addr.Name)
	if err != nil {
		return nil, fmt.Errorf("talking to member %q: %w", addr.Name, err)
	}
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	s, err := w.host.NewStream(ctx, p, protocol.GossipProtocol)
	if err != nil {
		return nil, fmt.Errorf("talking to %s: %w", p, err)
	}
	err = s.SetDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = s.Write([]byte{talkFollows})
	}
	if err != nil {
		_ = s.Reset()
		return nil, fmt.Errorf("talking to %s: %w", p, err)
	}
	return talk{s}, nil
}

// closeIdle closes streams that nothing was sent on for a while.
func (w *wire) closeIdle(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, out := range w.outs {
		if !out.sending && now.Sub(out.used) > idleTime {
			_ = out.stream.Close() // does not wait
			delete(w.outs, p)
		}
	}
}

// flush waits until nothing is queued, or ctx ends.
func (w *wire) flush(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !w.idle() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *wire) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, out := range w.outs {
		if out.sending {
			return false
		}
	}
	return true
}

// Shutdown ends all streams and waits for their goroutines.
func (w *wire) Shutdown() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.host.RemoveStreamHandler(protocol.GossipProtocol)
	w.cancel()
	w.wg.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, out := range w.outs {
		if out.stream != nil {
			_ = out.stream.Reset()
		}
		delete(w.outs, p)
	}
	return nil
}

func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }

func (w *wire) StreamCh() <-chan net.Conn { return w.talks }

// FinalAdvertiseAddr is the same for everybody: names tell members apart.
func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.ParseIP(nowhere), nowherePort, nil
}

// WriteTo would need an address that means something.
func (w *wire) WriteTo([]byte, string) (time.Time, error) { return time.Now(), nil }

// DialTimeout would, too.
func (w *wire) DialTimeout(addr string, _ time.Duration) (net.Conn, error) {
	return nil, fmt.Errorf("talking to %s: members are reached by name", addr)
}

// talk makes a stream a net.Conn.
type talk struct{ network.Stream }

func (t talk) LocalAddr() net.Addr  { return address(t.Conn().LocalPeer()) }
func (t talk) RemoteAddr() net.Addr { return address(t.Conn().RemotePeer()) }

// address is a peer as a net.Addr.
type address peer.ID

func (a address) Network() string { return "libp2p" }
func (a address) String() string  { return peer.ID(a).String() }
