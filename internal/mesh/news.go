package mesh

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// maxNews bounds the news that wait to be passed on.
	maxNews = 256
	// newsRepeat is how often each is sent, times log10 of the members.
	newsRepeat = 3
	// maxNewsBytes is what fits into a packet beside memberlist's own.
	maxNewsBytes = 1200

	farewellDomain = "meshnode farewell 1\n"
)

// news are facts that members pass on inside the failure detector's packets:
// each member once, when it hears them first.
type news struct {
	self   peer.ID
	roster *roster
	view   *view
	log    *slog.Logger
	queue  *memberlist.TransmitLimitedQueue
	poked  chan struct{} // somebody poked this node
}

// newsItem holds exactly one of its fields.
type newsItem struct {
	Farewell *protocol.Signed `cbor:"1,keyasint,omitempty"`
	Admitted *rosterEntry     `cbor:"2,keyasint,omitempty"`
	Poke     bool             `cbor:"3,keyasint,omitempty"`
}

// encodePoke asks its receiver to assert that it lives: the sender is
// connected to it, and its failure detector does not have it. It is not
// passed on.
func encodePoke() []byte { return protocol.Encode(newsItem{Poke: true}) }

// farewell tells a leaving member from a dying one. The boot ID keeps an old
// one from meaning anything later.
type farewell struct {
	_    struct{} `cbor:",toarray"`
	Peer peer.ID
	Boot uint64
}

func newNews(self peer.ID, r *roster, v *view, log *slog.Logger) *news {
	return &news{self: self, roster: r, view: v, log: log, poked: make(chan struct{}, 1), queue: &memberlist.TransmitLimitedQueue{
		NumNodes: v.ups, RetransmitMult: newsRepeat,
	}}
}

// broadcast is one piece of news in memberlist's queue.
type broadcast []byte

func (b broadcast) Invalidates(memberlist.Broadcast) bool { return false }
func (b broadcast) Message() []byte                       { return b }
func (b broadcast) Finished()                             {}

// UniqueBroadcast marks it as never outdated by another one.
func (b broadcast) UniqueBroadcast() {}

func (n *news) spread(item newsItem) {
	b := protocol.Encode(item)
	if len(b) > maxNewsBytes {
		return // the regular exchange of chains carries it
	}
	n.queue.QueueBroadcast(broadcast(b))
	n.queue.Prune(maxNews)
}

// admitted tells the others that a member was let in, so that its token is
// spent everywhere.
func (n *news) admitted(p peer.ID, chain []byte) {
	n.spread(newsItem{Admitted: &rosterEntry{Peer: p, Chain: chain}})
}

// goodbye tells the others that this node leaves. It returns what to send to
// those that are connected: gossip alone may miss some before it is gone.
func (n *news) goodbye(key crypto.PrivKey, boot uint64) ([]byte, error) {
	body := protocol.Encode(farewell{Peer: n.self, Boot: boot})
	sig, err := key.Sign(append([]byte(farewellDomain), body...))
	if err != nil {
		return nil, fmt.Errorf("signing the farewell: %w", err)
	}
	item := newsItem{Farewell: &protocol.Signed{Body: body, Sig: sig}}
	n.spread(item)
	return protocol.Encode(item), nil
}

// receive takes in what another member passed on.
func (n *news) receive(b []byte) {
	var item newsItem
	if len(b) > maxNewsBytes || protocol.Decode(b, &item) != nil {
		return
	}
	fresh := false
	switch {
	case item.Poke:
		select {
		case n.poked <- struct{}{}:
		default:
		}
	case item.Farewell != nil:
		fresh = n.receiveFarewell(item.Farewell)
	case item.Admitted != nil:
		var err error
		if fresh, err = n.roster.admit(item.Admitted.Peer, item.Admitted.Chain, time.Now()); err != nil {
			n.log.Debug("news of a member do not hold", "peer", item.Admitted.Peer, "err", err)
		}
		n.view.review(time.Now())
	}
	if fresh {
		n.spread(item)
	}
}

func (n *news) receiveFarewell(s *protocol.Signed) bool {
	var f farewell
	if err := protocol.Decode(s.Body, &f); err != nil || f.Peer == n.self {
		return false
	}
	if state, _ := n.view.state(f.Peer); state == "" || state == StateLeft {
		return false // nothing to gain from checking the signature
	}
	key, err := f.Peer.ExtractPublicKey()
	if err != nil {
		return false
	}
	if ok, err := key.Verify(append([]byte(farewellDomain), s.Body...), s.Sig); err != nil || !ok {
		return false
	}
	return n.view.becomeLeft(f.Peer, f.Boot, time.Now())
}

func encodeEntries(entries []rosterEntry) []byte { return protocol.Encode(entries) }
