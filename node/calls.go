package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Bounds of calls.
const (
	// callWait bounds a call that answers from memory.
	callWait = 2 * time.Second
	// holdWait bounds a call that fetches blocks.
	holdWait = 10 * time.Minute
	// readWait bounds the reading of a request.
	readWait = 10 * time.Second
	// maxCalls bounds the calls that are served at once.
	maxCalls = 256
)

// caller makes and serves the calls of protocol.CallProtocol. A call to this
// node itself is served without a stream.
type caller struct {
	host  host.Host
	log   *slog.Logger
	serve func(ctx context.Context, from peer.ID, q *protocol.Request) *protocol.Answer
	busy  chan struct{}

	refused        func(Refusal) // counts; no cause is none
	sent, received *tally        // requests by what they ask for
	// while, if set, returns a context that also ends when the peer is known to
	// be gone: one that hangs would be waited for in vain.
	while func(ctx context.Context, p peer.ID) (context.Context, context.CancelFunc)

	mu     sync.Mutex
	closed bool
	ctx    context.Context // ends with close: the calls that are served hang on it
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newCaller(h host.Host, log *slog.Logger, serve func(context.Context, peer.ID, *protocol.Request) *protocol.Answer) *caller {
	c := &caller{host: h, log: log, serve: serve, busy: make(chan struct{}, maxCalls)}
	c.refused, c.sent, c.received = func(Refusal) {}, &tally{}, &tally{}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *caller) start() { c.host.SetStreamHandler(protocol.CallProtocol, c.handle) }

func (c *caller) close() {
	c.host.RemoveStreamHandler(protocol.CallProtocol)
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// call asks a peer and waits for its answer until ctx or the wait ends, or the
// peer is gone.
func (c *caller) call(ctx context.Context, to peer.ID, q *protocol.Request, wait time.Duration) (*protocol.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if to == c.host.ID() {
		return answered(c.serve(ctx, to, q))
	}
	if c.while != nil {
		var end context.CancelFunc
		ctx, end = c.while(ctx, to)
		defer end()
	}
	s, err := c.host.NewStream(ctx, to, protocol.CallProtocol)
	if err != nil {
		return nil, fmt.Errorf("calling node %s: %w", to, err)
	}
	defer s.Reset()
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := protocol.WriteFrame(s, protocol.Encode(q)); err != nil {
		return nil, fmt.Errorf("calling node %s: %w", to, errors.Join(err, context.Cause(ctx)))
	}
	c.sent.add(q.Name())
	frame, err := protocol.ReadFrame(bufio.NewReader(s), protocol.MaxMessage)
	if err != nil {
		return nil, fmt.Errorf("calling node %s: %w", to, errors.Join(err, context.Cause(ctx)))
	}
	a, err := protocol.DecodeAnswer(frame)
	if err != nil {
		c.refused(badFrame(err))
		return nil, fmt.Errorf("calling node %s: %w", to, err)
	}
	return answered(a)
}

// remoteError is what a peer says went wrong.
type remoteError string

func (e remoteError) Error() string { return string(e) }

func answered(a *protocol.Answer) (*protocol.Answer, error) {
	if a.Error != "" {
		return a, remoteError(a.Error)
	}
	return a, nil
}

func (c *caller) handle(s network.Stream) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		_ = s.Reset()
		return
	}
	c.wg.Add(1)
	c.mu.Unlock()
	defer c.wg.Done()
	defer s.Close() // not Reset, which could overtake the answer
	select {
	case c.busy <- struct{}{}:
		defer func() { <-c.busy }()
	default:
		c.refused(RefusedFlood)
		c.reply(s, &protocol.Answer{Error: "busy: too many calls at once"})
		return
	}
	_ = s.SetReadDeadline(time.Now().Add(readWait))
	in := bufio.NewReader(s)
	frame, err := protocol.ReadFrame(in, protocol.MaxMessage)
	if err != nil {
		c.refused(causeOf(err))
		_ = s.Reset()
		return
	}
	q, err := protocol.DecodeRequest(frame)
	if err != nil {
		c.refused(badFrame(err))
		c.reply(s, &protocol.Answer{Error: err.Error()})
		return
	}
	c.received.add(q.Name())
	ctx, cancel := context.WithTimeout(c.ctx, holdWait)
	defer cancel()
	c.wg.Go(func() { // a caller that goes away ends the call
		_ = s.SetReadDeadline(time.Time{})
		_, _ = in.ReadByte()
		cancel()
	})
	c.reply(s, c.serve(ctx, s.Conn().RemotePeer(), q))
}

func (c *caller) reply(s network.Stream, a *protocol.Answer) {
	_ = s.SetWriteDeadline(time.Now().Add(writeWait))
	if err := protocol.WriteFrame(s, protocol.Encode(a)); err != nil {
		c.log.Debug("answer not delivered", "peer", s.Conn().RemotePeer(), "error", err)
		_ = s.Reset()
	}
}
