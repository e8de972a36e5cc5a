package exchange

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// Errors that callers may want to tell apart.
var (
	// ErrUnavailable: no source had what was asked for; the error says what
	// each of them said.
	ErrUnavailable = errors.New("no source has it")
	// ErrClosed: the exchange was closed.
	ErrClosed = errors.New("the exchange is closed")
)

// Limits of what one node does for others, and waits for.
const (
	// maxServed is how many streams are served at once, and maxServedPeer how
	// many of one peer: the disk and the processor are busy with fewer.
	maxServed     = 32
	maxServedPeer = 8
	// maxQueued is how many more may wait for their turn, maxQueuedPeer
	// how many of one peer.
	maxQueued     = 256
	maxQueuedPeer = 32
	// queueTimeout is how long they wait until they are told to come back: less
	// than the client's patience.
	queueTimeout = 5 * time.Second
	// idleTimeout ends a stream on which nothing moves. Every read or write
	// of idleBytes renews it, so a peer cannot hold a stream with a byte now
	// and then.
	idleTimeout = 10 * time.Second
	idleBytes   = 4 << 10
	// maxWanted is how many blocks one request names, and maxRequest the bytes
	// of such a request.
	maxWanted  = 1024
	maxRequest = 64 << 10
	// maxHeader bounds the frame before a block.
	maxHeader = 1 << 10
	// maxPending bounds the blocks that are linked but have not come: a
	// tebibyte of leaves at once.
	maxPending = 1 << 20
)

// Config configures an exchange.
type Config struct {
	Host   host.Host
	Store  *storage.Store
	Logger *slog.Logger // discards
	// Allow says who is served; nil means everyone whom the host lets in.
	Allow func(peer.ID) bool
	// While returns a context that also ends when the peer is known to be gone,
	// so that nobody waits for a source that hangs; nil means that only silence
	// tells.
	While func(ctx context.Context, p peer.ID) (context.Context, context.CancelFunc)
}

// Exchange fetches blocks into a store and serves those that it has.
type Exchange struct {
	host  host.Host
	store *storage.Store
	log   *slog.Logger
	allow func(peer.ID) bool
	while func(context.Context, peer.ID) (context.Context, context.CancelFunc)
	idle  time.Duration // idleTimeout

	turn    chan struct{} // holds one token for each stream that is being served
	buffers sync.Pool     // of *[]byte, for blocks on their way in

	mu      sync.Mutex
	closed  bool
	stop    context.CancelFunc // ends serving; nil before Start
	queued  int                // streams, waiting or served
	peers   map[peer.ID]*client
	flights map[string]*flight
	tasks   sync.WaitGroup // handlers and flights; only grows under mu, before closed
}

// client is what is being done for one peer.
type client struct {
	queued int           // streams, waiting or served; guarded by Exchange.mu
	turn   chan struct{} // holds one token for each that is served
}

// New prepares an exchange and registers nothing.
func New(cfg Config) *Exchange {
	x := &Exchange{
		host:    cfg.Host,
		store:   cfg.Store,
		log:     cfg.Logger,
		allow:   cfg.Allow,
		while:   cfg.While,
		idle:    idleTimeout,
		turn:    make(chan struct{}, maxServed),
		peers:   map[peer.ID]*client{},
		flights: map[string]*flight{},
	}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	if x.allow == nil {
		x.allow = func(peer.ID) bool { return true }
	}
	if x.while == nil {
		x.while = func(ctx context.Context, _ peer.ID) (context.Context, context.CancelFunc) {
			return context.WithCancel(ctx)
		}
	}
	x.buffers.New = func() any { return new([]byte) }
	return x
}

// Start begins to serve. Fetching works without it.
func (x *Exchange) Start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.stop != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	x.stop = cancel
	x.host.SetStreamHandler(protocol.BlockProtocol, func(s network.Stream) { x.handle(ctx, s) })
}

// Close stops serving, ends shared fetches, and waits for all of them. It may
// be called twice. The store and the host stay open.
func (x *Exchange) Close() {
	x.mu.Lock()
	x.closed = true
	if x.stop != nil {
		x.host.RemoveStreamHandler(protocol.BlockProtocol)
		x.stop()
	}
	for _, f := range x.flights {
		f.cancel()
	}
	x.mu.Unlock()
	x.tasks.Wait()
}
