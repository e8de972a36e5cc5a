package mesh

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// States of a member.
const (
	StateAlive   = "alive"
	StateSuspect = "suspect" // its connection closed and a redial failed
	StateDead    = "dead"    // the failure detector gave it up
	StateLeft    = "left"    // it said goodbye
)

// Member is another node, or this one, as this node sees it.
type Member struct {
	ID       peer.ID
	Name     string
	State    string // StateAlive, StateSuspect, StateDead, StateLeft
	Self     bool
	Addrs    []string // each ends in /p2p/ID
	Version  string
	Boot     uint64
	Slots    int
	Load     Load
	LastSeen time.Time // when it was last heard of directly; now for this node
}

// view is who is alive. It joins three sources: the failure detector, closed
// connections that could not be renewed (suspicion, this node's own), and
// farewells. Its methods do not block and call nobody.
type view struct {
	self   peer.ID
	member func(peer.ID) bool // has a valid chain

	mu      sync.Mutex
	known   map[peer.ID]*sighting
	alive   []peer.ID     // sorted; what Alive returns
	changed chan struct{} // closed when alive changes
}

// sighting is what the view has of one member.
type sighting struct {
	meta    meta
	up      bool // says the failure detector
	suspect bool // says this node
	left    bool // says the member
	since   time.Time
	heard   time.Time
	load    Load
	seq     uint64
	loadEnd time.Time
}

func newView(self peer.ID, member func(peer.ID) bool) *view {
	return &view{self: self, member: member, known: map[peer.ID]*sighting{}, changed: make(chan struct{})}
}

func (s *sighting) state() string {
	switch {
	case s.left:
		return StateLeft
	case !s.up:
		return StateDead
	case s.suspect:
		return StateSuspect
	}
	return StateAlive
}

// becomeUp records what the failure detector says of a live member.
func (v *view) becomeUp(p peer.ID, m meta, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.known[p]
	if s == nil {
		s = &sighting{heard: now}
		v.known[p] = s
	}
	if s.left && s.meta.Boot == m.Boot {
		return // old news about one that has said goodbye
	}
	if !s.up || s.left || s.meta.Boot != m.Boot {
		s.since = now
	}
	s.meta, s.up, s.left, s.suspect = m, true, false, false
	v.settle()
}

// becomeDown records that the failure detector gave p up.
func (v *view) becomeDown(p peer.ID, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.known[p]; s != nil && s.up {
		s.up, s.suspect, s.since = false, false, now
		v.settle()
	}
}

// becomeSuspect records that p cannot be reached from here; it reports whether
// that is news.
func (v *view) becomeSuspect(p peer.ID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.known[p]
	if s == nil || s.suspect || !s.up || s.left {
		return false
	}
	s.suspect = true
	v.settle()
	return true
}

// becomeReached records that a connection to p stands.
func (v *view) becomeReached(p peer.ID, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.known[p]; s != nil {
		s.suspect, s.heard = false, now
		v.settle()
	}
}

// becomeLeft records p's goodbye of that boot; it reports whether it is news.
func (v *view) becomeLeft(p peer.ID, boot uint64, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.known[p]
	if s == nil || s.left || s.meta.Boot != boot {
		return false
	}
	s.left, s.up, s.since = true, false, now
	v.settle()
	return true
}

func (v *view) heardOf(p peer.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.known[p]; s != nil {
		s.heard = time.Now()
	}
}

// report records a load report; it is false for one that is not newer.
func (v *view) report(p peer.ID, l Load, seq uint64, until time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := v.known[p]
	if s == nil || seq <= s.seq {
		return false
	}
	s.load, s.seq, s.loadEnd = l, seq, until
	return true
}

// settle publishes the set of live members if it has changed. Called with the
// lock held.
func (v *view) settle() {
	alive := []peer.ID{v.self}
	for p, s := range v.known {
		if s.state() == StateAlive && p != v.self && v.member(p) {
			alive = append(alive, p)
		}
	}
	slices.Sort(alive)
	if slices.Equal(alive, v.alive) {
		return
	}
	v.alive = alive
	close(v.changed)
	v.changed = make(chan struct{})
}

// review settles again, since membership ends by itself and chains arrive
// apart from their members, and forgets those long gone.
func (v *view) review(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for p, s := range v.known {
		if p != v.self && !s.up && now.Sub(s.since) > rememberDead {
			delete(v.known, p)
		}
		if now.After(s.loadEnd) && p != v.self {
			s.load = Load{}
		}
	}
	v.settle()
}

func (v *view) live() []peer.ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.alive)
}

func (v *view) change() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// state of p, or "" when it was never seen.
func (v *view) state(p peer.ID) (state string, since time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.known[p]; s != nil {
		return s.state(), s.since
	}
	return "", time.Time{}
}

// ups counts the members that the failure detector has, this node included.
func (v *view) ups() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, s := range v.known {
		if s.up {
			n++
		}
	}
	return n
}

// peers are all members seen but this one.
func (v *view) peers() []peer.ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make([]peer.ID, 0, len(v.known))
	for p := range v.known {
		if p != v.self {
			out = append(out, p)
		}
	}
	return out
}

func (v *view) addrsOf(p peer.ID) []ma.Multiaddr {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.known[p]; s != nil {
		return s.meta.addrs()
	}
	return nil
}

// members are all seen, sorted by ID.
func (v *view) members() []Member {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []Member
	for p, s := range v.known {
		if p != v.self && !v.member(p) {
			continue
		}
		m := Member{
			ID: p, Name: s.meta.Name, State: s.state(), Self: p == v.self, Version: s.meta.Version,
			Boot: s.meta.Boot, Slots: s.meta.Slots, Load: s.load.clone(), LastSeen: s.heard,
			Addrs: withID(s.meta.addrs(), p),
		}
		if m.Self {
			m.State, m.LastSeen = StateAlive, time.Now()
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmpID(a.ID, b.ID) })
	return out
}

func cmpID(a, b peer.ID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// withID prints addresses with /p2p/ID at their end.
func withID(addrs []ma.Multiaddr, p peer.ID) []string {
	out := make([]string, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.String()+"/p2p/"+p.String())
	}
	return out
}
