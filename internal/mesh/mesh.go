package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/meshnode/meshnode/protocol"
)

// Mesh is one peer's place in a mesh. See the package's comment.
type Mesh struct {
	cfg    Config
	log    *slog.Logger
	dir    home
	id     *identity
	roster *roster
	view   *view
	book   *book
	news   *news
	keeper *keeper
	gossip *gossip
	host   host.Host

	ready chan struct{}
	done  chan struct{} // closed when Run has returned

	mu      sync.Mutex
	swim    *memberlist.Memberlist // while Run runs
	stop    context.CancelFunc     // ends Run; nil before it
	failure error                  // why Run ended by itself
	closed  bool
	killed  bool
	isReady bool
}

// New prepares a peer: it loads its identity from cfg.Dir or makes one, and
// its membership of a mesh, from an earlier start or the token, or founds a
// mesh. It listens and dials only in Run. Close it even if Run is never called.
//
// It fails with protocol.ErrToken for a token that is none, with
// protocol.ErrExpired for one that is too old, and with protocol.ErrWrongMesh
// when the directory belongs to another mesh than the token.
func New(cfg Config) (*Mesh, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, now := home(cfg.Dir), time.Now()
	id, err := loadIdentity(dir, cfg.Join, now)
	if err != nil {
		return nil, err
	}
	m := &Mesh{
		cfg: cfg, log: cfg.Logger, dir: dir, id: id,
		roster: newRoster(id.mesh),
		ready:  make(chan struct{}), done: make(chan struct{}),
	}
	m.view = newView(id.id, m.roster.isMember)
	m.news = newNews(id.id, m.roster, m.view, m.log)
	if err := m.remember(now); err != nil {
		return nil, err
	}
	m.host, err = newHost(cfg, id, &gate{
		self: hello{Mesh: id.mesh, Chain: id.chain.Encode()}, admit: m.admit,
		connected: func(p peer.ID) bool { return m.host.Network().Connectedness(p) == network.Connected },
	})
	if err != nil {
		return nil, err
	}
	m.keeper = &keeper{
		self: id.id, net: m.host.Network(), view: m.view, book: m.book, log: m.log,
		dial: m.host.Connect, join: m.join, poke: m.poke, refuse: m.refused,
		wake: make(chan struct{}, 1), contacts: map[peer.ID]*contact{},
	}
	m.gossip = &gossip{self: id.id, view: m.view, slots: cfg.Slots, log: m.log, wake: make(chan struct{}, 1)}
	return m, nil
}

// remember loads who is known from earlier starts.
func (m *Mesh) remember(now time.Time) error {
	if _, err := m.roster.admit(m.id.id, m.id.chain.Encode(), now); err != nil {
		return fmt.Errorf("checking this node's own certificate: %w", err)
	}
	known, err := m.dir.read(rosterFile)
	if err != nil {
		return err
	}
	if known != nil {
		if _, err := m.roster.merge(known, now); err != nil {
			return fmt.Errorf("%s in %s is damaged: %w; remove it, the other members will tell this node again", rosterFile, m.dir, err)
		}
	}
	b, err := m.dir.read(bookFile)
	if err != nil {
		return err
	}
	m.book = newBook(m.id.id, b)
	for _, info := range m.id.hints {
		if info.ID != m.id.id {
			m.book.hint(info.ID, info.Addrs, now)
		}
	}
	return nil
}

// admit decides whether p, which shows this chain, is let in.
func (m *Mesh) admit(p peer.ID, chain []byte) error {
	if state, _ := m.view.state(p); state != StateAlive && state != StateSuspect && m.view.ups() >= m.cfg.RegionLimit {
		return fmt.Errorf("%w: it has %d members, the limit of this version; start a second mesh", ErrFull, m.cfg.RegionLimit)
	}
	added, err := m.roster.admit(p, chain, time.Now())
	if err != nil {
		m.log.Info("peer refused", "peer", p, "err", err)
		return err
	}
	if added {
		m.news.admitted(p, chain)
	}
	return nil
}

// Host is the peer's libp2p host. Stream handlers belong on it before Run.
// Everybody who opens a stream is a member.
func (m *Mesh) Host() host.Host { return m.host }

// Key signs as this peer.
func (m *Mesh) Key() crypto.PrivKey { return m.id.key }

// ID is the peer's ID.
func (m *Mesh) ID() peer.ID { return m.id.id }

// MeshID names the mesh: its founder's key, printed like a peer ID.
func (m *Mesh) MeshID() string { return m.id.mesh.String() }

// Boot tells this start of the peer from others.
func (m *Mesh) Boot() uint64 { return m.cfg.Boot }

// Addrs are where the peer can be dialed, each ending in /p2p/ID; none before
// Run. A listener on every interface shows the address of each.
func (m *Mesh) Addrs() []string { return withID(m.addrs(), m.id.id) }

func (m *Mesh) addrs() []ma.Multiaddr {
	addrs, err := m.host.Network().InterfaceListenAddresses()
	if err != nil {
		m.log.Debug("no interface addresses", "err", err)
		addrs = m.host.Network().ListenAddresses()
	}
	return bestFirst(addrs)
}

// meta is what this node says of itself to the failure detector.
func (m *Mesh) meta() meta {
	return meta{Name: m.cfg.Name, Version: m.cfg.Version, Boot: m.cfg.Boot, Slots: m.cfg.Slots, Addrs: encodeAddrs(m.addrs())}
}

// Members are all members seen, this one included, the dead and left of the
// last ten minutes too, sorted by ID.
func (m *Mesh) Members() []Member {
	out := m.view.members()
	for i := range out {
		if out[i].Self {
			out[i].Load = m.gossip.latest().clone()
		}
	}
	if !slices.ContainsFunc(out, func(x Member) bool { return x.Self }) {
		out = append(out, Member{
			ID: m.id.id, Name: m.cfg.Name, State: StateAlive, Self: true, Addrs: m.Addrs(), Version: m.cfg.Version,
			Boot: m.cfg.Boot, Slots: m.cfg.Slots, Load: m.gossip.latest().clone(), LastSeen: time.Now(),
		})
		slices.SortFunc(out, func(a, b Member) int { return cmpID(a.ID, b.ID) })
	}
	return out
}

// Alive are the members that may be given work, this one included, sorted: the
// failure detector has them and this node does not suspect them.
func (m *Mesh) Alive() []peer.ID { return m.view.live() }

// Changed is closed at the next change of what Alive returns. Take a fresh
// channel before each look at Alive.
func (m *Mesh) Changed() <-chan struct{} { return m.view.change() }

// Announce replaces the load that the other members see of this one. Reports
// are rate limited; the latest wins.
func (m *Mesh) Announce(l Load) { m.gossip.announce(l) }

// IsMember reports whether p holds a valid certificate of this mesh, as far as
// this node has seen.
func (m *Mesh) IsMember(p peer.ID) bool { return m.roster.isMember(p) }

// Roles are what p may do, sorted; none when it is no member.
func (m *Mesh) Roles(p peer.ID) []string { return m.roster.roles(p) }

// Ready is closed once the node listens and has found its mesh: a founder at
// once, a newcomer when a member took it in, a restarted one when it found a
// member or none of those it knows answered.
func (m *Mesh) Ready() <-chan struct{} { return m.ready }

const (
	defaultInvite = 24 * time.Hour
	// inviteOthers is how many other members a token names, so that it works
	// when the inviter is gone.
	inviteOthers = 2
)

// Invite makes a token with which one node may join. No roles mean all of this
// node's, and no time a day. It fails with protocol.ErrNotMember when this
// node may not invite.
func (m *Mesh) Invite(roles []string, valid time.Duration) (string, error) {
	if len(roles) == 0 {
		roles = m.Roles(m.id.id)
	}
	if valid == 0 {
		valid = defaultInvite
	}
	addrs := m.Addrs()
	if len(addrs) == 0 {
		return "", errors.New("inviting: this node does not listen yet, so nobody could find it")
	}
	others := 0
	for _, other := range m.Members() {
		if !other.Self && other.State == StateAlive && len(other.Addrs) > 0 && others < inviteOthers {
			addrs = append(addrs, other.Addrs[0])
			others++
		}
	}
	now := time.Now()
	token, err := protocol.NewToken(m.id.chain, m.id.key, addrs, roles, now, now.Add(valid))
	if err != nil {
		return "", err
	}
	return token.String(), nil
}
