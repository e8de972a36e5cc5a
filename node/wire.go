package node

import (
	"bufio"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Bounds of the one-way message streams.
const (
	// maxOutbox is how many messages wait for one peer; more are dropped, as
	// any message may be.
	maxOutbox = 1024
	// outboxIdle is how long a stream without messages is kept.
	outboxIdle = time.Minute
	// writeWait is how long one write may take before the stream is given up.
	writeWait = 5 * time.Second
	// dialWait bounds the opening of a stream.
	dialWait = 3 * time.Second
	// maxInbound bounds the message streams that one peer may have open here.
	maxInbound = 4
)

// wire carries the messages of protocol.JobProtocol: one stream to each peer
// that this node has something to say to, in order, without answers.
type wire struct {
	host    host.Host
	log     *slog.Logger
	receive func(ctx context.Context, from peer.ID, m protocol.Message) // called in order for each stream of a peer

	refused        func(Refusal) // counts; no cause is none
	sent, received *tally        // messages by kind

	mu       sync.Mutex
	outboxes map[peer.ID]chan []byte
	inbound  map[peer.ID]int
	closed   bool
	ctx      context.Context // ends with close; streams and dials hang on it
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

func newWire(h host.Host, log *slog.Logger, receive func(context.Context, peer.ID, protocol.Message)) *wire {
	w := &wire{host: h, log: log, receive: receive, outboxes: map[peer.ID]chan []byte{}, inbound: map[peer.ID]int{}}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.refused, w.sent, w.received = func(Refusal) {}, &tally{}, &tally{}
	return w
}

func (w *wire) start() { w.host.SetStreamHandler(protocol.JobProtocol, w.serve) }

func (w *wire) close() {
	w.host.RemoveStreamHandler(protocol.JobProtocol)
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.wg.Wait()
}

// send queues a message and never blocks.
func (w *wire) send(to peer.ID, m protocol.Message) {
	frame := protocol.EncodeMessage(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	box := w.outboxes[to]
	if box == nil {
		box = make(chan []byte, maxOutbox)
		w.outboxes[to] = box
		w.wg.Go(func() { w.deliver(to, box) })
	}
	select {
	case box <- frame:
	default:
		w.log.Debug("message dropped, peer is slow", "peer", to)
	}
}

// deliver writes one peer's messages until there has been none for a while.
func (w *wire) deliver(to peer.ID, box chan []byte) {
	for {
		w.stream(to, box)
		w.mu.Lock()
		if len(box) == 0 || w.closed {
			delete(w.outboxes, to)
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
	}
}

// stream opens a stream and writes to it until it breaks or idles. What was
// queued for a peer that cannot be reached is dropped.
func (w *wire) stream(to peer.ID, box chan []byte) {
	dial, cancel := context.WithTimeout(w.ctx, dialWait)
	s, err := w.host.NewStream(dial, to, protocol.JobProtocol)
	cancel()
	if err != nil {
		for range len(box) {
			<-box
		}
		return
	}
	defer s.Reset()
	out := bufio.NewWriter(s)
	idle := time.NewTimer(outboxIdle)
	defer idle.Stop()
	for {
		select {
		case frame := <-box:
			_ = s.SetWriteDeadline(time.Now().Add(writeWait))
			if protocol.WriteFrame(out, frame) != nil || len(box) == 0 && out.Flush() != nil {
				return
			}
			w.sent.add(protocol.MessageName(frame[0]))
			idle.Reset(outboxIdle)
		case <-idle.C:
			_ = s.CloseWrite()
			return
		case <-w.ctx.Done():
			return
		}
	}
}

// admit counts an inbound stream, unless the peer has too many.
func (w *wire) admit(from peer.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.inbound[from] >= maxInbound {
		return false
	}
	w.inbound[from]++
	w.wg.Add(1)
	return true
}

func (w *wire) release(from peer.ID) {
	w.mu.Lock()
	if w.inbound[from]--; w.inbound[from] == 0 {
		delete(w.inbound, from)
	}
	w.mu.Unlock()
	w.wg.Done()
}

func (w *wire) serve(s network.Stream) {
	from := s.Conn().RemotePeer()
	if !w.admit(from) {
		w.refused(RefusedFlood)
		_ = s.Reset()
		return
	}
	defer w.release(from)
	defer s.Reset()
	stop := context.AfterFunc(w.ctx, func() { _ = s.Reset() })
	defer stop()
	in := bufio.NewReader(s)
	for {
		frame, err := protocol.ReadFrame(in, protocol.MaxMessage)
		if err != nil {
			w.refused(causeOf(err))
			return
		}
		m, err := protocol.DecodeMessage(frame)
		if err != nil {
			w.refused(badFrame(err))
			w.log.Warn("bad message, stream closed", "peer", from, "error", err)
			return
		}
		w.received.add(protocol.MessageName(frame[0]))
		w.receive(w.ctx, from, m)
	}
}
