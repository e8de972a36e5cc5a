package mesh

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Load is what a node says of how busy it is and what it can run. It is a
// hint: it only chooses whom to ask.
type Load struct {
	Running int                    `cbor:"1,keyasint"`
	Queued  int                    `cbor:"2,keyasint"`
	Kinds   []protocol.ProgramKind `cbor:"3,keyasint"`
	Funcs   []string               `cbor:"4,keyasint"`
	Seq     uint64                 `cbor:"5,keyasint"` // set by Announce: of two reports the greater counts
}

func (l Load) clone() Load {
	l.Kinds, l.Funcs = slices.Clone(l.Kinds), slices.Clone(l.Funcs)
	return l
}

// differs tells a change worth an early report: other programs, from idle to
// busy or back, or a whole machine's worth of tasks.
func (l Load) differs(o Load, slots int) bool {
	a, b := l.Running+l.Queued, o.Running+o.Queued
	return (a == 0) != (b == 0) || a-b >= slots || b-a >= slots ||
		!slices.Equal(l.Kinds, o.Kinds) || !slices.Equal(l.Funcs, o.Funcs)
}

func (l Load) equal(o Load) bool {
	return l.Running == o.Running && l.Queued == o.Queued && slices.Equal(l.Kinds, o.Kinds) && slices.Equal(l.Funcs, o.Funcs)
}

const (
	// loadBudget is how many bytes of reports a node should receive a second,
	// at any size of the mesh.
	loadBudget = 12_000
	// loadCopies is how often gossipsub delivers each: once from every
	// neighbour in its overlay.
	loadCopies = gossipD
	// loadOverhead is what surrounds a report: signature, author, topic.
	loadOverhead = 200
	loadMinEvery = time.Second
	// loadSoon is between two early reports, of which loadBurst are saved up.
	loadSoon  = 100 * time.Millisecond
	loadBurst = 4
	// loadRepeat is how many intervals may pass without a change before the
	// report is repeated; it is good for twice that.
	loadRepeat = 10
	maxLoadFor = 10 * time.Minute
	maxReport  = 4 << 10
	maxKinds   = 8
	maxFuncs   = 64
	maxFunc    = 256
)

// Gossipsub's overlay: few neighbours and little history, since a lost report
// is outdated by the next one.
const (
	gossipD       = 4
	gossipDlo     = 3
	gossipDhi     = 6
	gossipDscore  = 2
	gossipDout    = 1
	gossipDlazy   = 2
	gossipHistory = 2
	seenFor       = 30 * time.Second
	gossipQueue   = 16
)

// report is a load on the wire, signed by gossipsub as its author's.
type report struct {
	_    struct{} `cbor:",toarray"`
	Load Load
	For  time.Duration // how long it is good for, from its arrival
}

// gossip spreads load reports.
type gossip struct {
	self  peer.ID
	view  *view
	slots int
	log   *slog.Logger
	topic *pubsub.Topic
	wake  chan struct{}

	mu   sync.Mutex
	load Load
}

// start starts gossipsub, which ends with ctx.
func (g *gossip) start(ctx context.Context, h host.Host, mesh peer.ID) error {
	name := "/meshnode/load/1/" + mesh.String()
	params := pubsub.DefaultGossipSubParams()
	params.D, params.Dlo, params.Dhi, params.Dscore, params.Dout = gossipD, gossipDlo, gossipDhi, gossipDscore, gossipDout
	params.Dlazy, params.GossipFactor = gossipDlazy, 0
	params.HistoryGossip, params.HistoryLength = gossipHistory, gossipHistory+1
	ps, err := pubsub.NewGossipSub(ctx, h,
		pubsub.WithGossipSubParams(params),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictSign),
		pubsub.WithMessageIdFn(shortID),
		pubsub.WithPeerFilter(func(p peer.ID, _ string) bool { return g.view.member(p) }),
		pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(name)),
		pubsub.WithMaxMessageSize(4*maxReport),
		pubsub.WithMaxControlMessageSize(2*maxReport),
		pubsub.WithSeenMessagesTTL(seenFor),
		pubsub.WithPeerOutboundQueueSize(gossipQueue),
		pubsub.WithValidateQueueSize(gossipQueue),
		pubsub.WithValidateWorkers(1),
	)
	if err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	if err := ps.RegisterTopicValidator(name, g.validate, pubsub.WithValidatorInline(true)); err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	if g.topic, err = ps.Join(name); err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	// Only subscribers are in the overlay; reports are taken in by validate.
	if _, err = g.topic.Relay(); err != nil {
		return fmt.Errorf("starting gossip: %w", err)
	}
	return nil
}

// shortID is unique for a while, which is as long as messages are remembered.
func shortID(msg *pb.Message) string {
	from := msg.GetFrom()
	return string(from[max(0, len(from)-8):]) + string(msg.GetSeqno())
}

// validate takes a report in, and says whether it may travel on. Its author's
// signature has been checked.
func (g *gossip) validate(_ context.Context, _ peer.ID, msg *pubsub.Message) pubsub.ValidationResult {
	author := msg.GetFrom()
	if author == g.self {
		return pubsub.ValidationAccept
	}
	if len(msg.GetData()) > maxReport || !g.view.member(author) {
		return pubsub.ValidationReject
	}
	r, err := decodeReport(msg.GetData())
	if err != nil {
		return pubsub.ValidationReject
	}
	if !g.view.report(author, r.Load, r.Load.Seq, time.Now().Add(r.For)) {
		return pubsub.ValidationIgnore // not newer, or from one not yet seen
	}
	return pubsub.ValidationAccept
}

func decodeReport(b []byte) (report, error) {
	var r report
	if err := protocol.Decode(b, &r); err != nil {
		return r, err
	}
	if !r.Load.bounded() || r.For < 0 || r.For > maxLoadFor {
		return r, fmt.Errorf("decoding a load report: out of bounds")
	}
	return r, nil
}

func (l Load) bounded() bool {
	ok := l.Running >= 0 && l.Queued >= 0 && l.Running <= protocol.MaxTasks && l.Queued <= 64*protocol.MaxTasks &&
		len(l.Kinds) <= maxKinds && len(l.Funcs) <= maxFuncs
	for _, k := range l.Kinds {
		ok = ok && len(k) <= maxFunc
	}
	for _, f := range l.Funcs {
		ok = ok && len(f) <= maxFunc
	}
	return ok
}

// announce replaces what this node says of itself.
func (g *gossip) announce(l Load) {
	l = l.clone()
	l.Kinds, l.Funcs = l.Kinds[:min(len(l.Kinds), maxKinds)], l.Funcs[:min(len(l.Funcs), maxFuncs)]
	g.mu.Lock()
	same := g.load.equal(l)
	l.Seq = max(g.load.Seq+1, uint64(time.Now().UnixNano())) // grows across restarts
	g.load = l
	g.mu.Unlock()
	if same {
		return
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *gossip) latest() Load {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.load
}

// pace is when reports may go out: one an interval, and a few saved-up early
// ones. It is pure.
type pace struct {
	last   time.Time // when one went out
	filled time.Time // until when spare was counted
	spare  float64   // early ones saved up
	said   Load
}

// interval keeps what n members send within what one may receive.
func interval(n, size int) time.Duration {
	every := time.Duration(n*(size+loadOverhead)*loadCopies) * time.Second / loadBudget
	return max(loadMinEvery, every)
}

// due is whether l goes out now, or else when to ask again.
func (p *pace) due(l Load, n, size, slots int, now time.Time) (bool, time.Time) {
	every := interval(n, size)
	p.spare = min(loadBurst, p.spare+float64(now.Sub(p.filled))/float64(every))
	p.filled = now
	repeat := p.last.Add(loadRepeat * every)
	at := repeat
	switch {
	case p.said.Seq == 0:
		at = now
	case l.equal(p.said):
	case l.differs(p.said, slots) && p.spare >= 1:
		at = p.last.Add(loadSoon)
	default:
		at = p.last.Add(every)
	}
	return !at.After(now), at
}

func (p *pace) sent(l Load, early bool, now time.Time) {
	if early {
		p.spare--
	}
	p.last, p.filled, p.said = now, now, l
}

// run publishes this node's load until ctx ends.
func (g *gossip) run(ctx context.Context) {
	p := pace{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		case <-timer.C:
		}
		now, l := time.Now(), g.latest()
		if l.Seq == 0 {
			continue // nothing was announced yet
		}
		n := len(g.view.live())
		b := protocol.Encode(report{Load: l, For: min(maxLoadFor, 2*loadRepeat*interval(n, 0)+loadMinEvery)})
		ok, again := p.due(l, n, len(b), g.slots, now)
		if ok {
			g.publish(ctx, l, b)
			p.sent(l, now.Sub(p.last) < interval(n, len(b)), now)
			again = now.Add(loadSoon)
		}
		timer.Reset(time.Until(again))
	}
}

func (g *gossip) publish(ctx context.Context, l Load, b []byte) {
	if len(b) > maxReport {
		g.log.Warn("load report too long to send; register fewer functions", "bytes", len(b))
		return
	}
	if err := g.topic.Publish(ctx, b); err != nil && ctx.Err() == nil {
		g.log.Debug("load report not sent", "seq", l.Seq, "err", err)
	}
}
