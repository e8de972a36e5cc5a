package mesh

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// ErrSpent is returned to a node whose token was used by another one before.
var ErrSpent = errors.New("the token was already used by another node; ask for a new one (meshnode invite)")

// ErrFull is returned to a node for which a mesh has no room.
var ErrFull = errors.New("the mesh is full")

// roster is who may be in the mesh: every verified chain that this node has
// seen. It only grows. Since a chain names the one-time keys that it rests on,
// the roster also says which tokens are spent: the first member seen with a
// key keeps it.
type roster struct {
	mesh peer.ID

	mu      sync.RWMutex
	members map[peer.ID]*entry
	spent   map[peer.ID]peer.ID // one-time key -> the member that used it
	dirty   bool
}

type entry struct {
	chain []byte // as it travels
	roles []string
	until time.Time
}

func newRoster(mesh peer.ID) *roster {
	return &roster{mesh: mesh, members: map[peer.ID]*entry{}, spent: map[peer.ID]peer.ID{}}
}

// admit checks the chain with which p claims to be a member and remembers it;
// added tells whether it was news.
func (r *roster) admit(p peer.ID, encoded []byte, now time.Time) (added bool, err error) {
	if r.knows(p, encoded, now) {
		return false, nil
	}
	chain, err := protocol.DecodeChain(encoded)
	if err != nil {
		return false, err
	}
	roles, err := chain.Verify(r.mesh, p, now)
	if err != nil {
		return false, err
	}
	keys := chain.OneTimeKeys()
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, user := range keys {
		if first, ok := r.spent[key]; ok && first != user {
			return false, ErrSpent
		}
	}
	if _, ok := r.members[p]; !ok && len(r.members) >= maxRoster {
		return false, fmt.Errorf("%w: it remembers %d members", ErrFull, maxRoster)
	}
	for key, user := range keys {
		r.spent[key] = user
	}
	r.members[p] = &entry{chain: encoded, roles: roles, until: chain.Until()}
	r.dirty = true
	return true, nil
}

// knows reports whether exactly this chain was verified before and still holds.
func (r *roster) knows(p peer.ID, encoded []byte, now time.Time) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.members[p]
	return e != nil && now.Before(e.until) && slices.Equal(e.chain, encoded)
}

func (r *roster) isMember(p peer.ID) bool { return r.roles(p) != nil }

// roles are those of p, or nil when it is no member.
func (r *roster) roles(p peer.ID) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e := r.members[p]; e != nil && time.Now().Before(e.until) {
		return slices.Clone(e.roles)
	}
	return nil
}

// rosterEntry is one entry of the roster as it travels and is kept.
type rosterEntry struct {
	_     struct{} `cbor:",toarray"`
	Peer  peer.ID
	Chain []byte
}

// some returns up to n entries, all when there are fewer, else a random choice.
func (r *roster) some(n int) []rosterEntry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	out := make([]rosterEntry, 0, len(r.members))
	for p, e := range r.members {
		out = append(out, rosterEntry{Peer: p, Chain: e.chain})
	}
	if len(out) <= n {
		return out
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:n]
}

// merge adds what another member or an earlier start knew and returns the
// peers that were new. What does not hold is left out.
func (r *roster) merge(b []byte, now time.Time) ([]peer.ID, error) {
	var entries []rosterEntry
	if err := protocol.Decode(b, &entries); err != nil {
		return nil, fmt.Errorf("reading members: %w", err)
	}
	if len(entries) > maxRoster {
		return nil, fmt.Errorf("reading members: %d are too many", len(entries))
	}
	var added []peer.ID
	for _, e := range entries {
		if ok, err := r.admit(e.Peer, e.Chain, now); err == nil && ok {
			added = append(added, e.Peer)
		}
	}
	return added, nil
}

// save writes the roster to its file if it has grown.
func (r *roster) save(h home) error {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = false
	r.mu.Unlock()
	if !dirty {
		return nil
	}
	if err := h.write(rosterFile, protocol.Encode(r.some(maxRoster)), false); err != nil {
		r.mu.Lock()
		r.dirty = true
		r.mu.Unlock()
		return err
	}
	return nil
}
