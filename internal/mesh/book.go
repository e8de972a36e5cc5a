package mesh

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/meshnode/meshnode/protocol"
)

// book is where members were last found. It outlives restarts, so that a node
// that lost everybody knows whom to dial.
type book struct {
	mu    sync.Mutex
	pages map[peer.ID]*page
	dirty bool
}

type page struct {
	_     struct{} `cbor:",toarray"`
	Peer  peer.ID
	Addrs [][]byte
	Seen  int64 // seconds since 1970; decides who is forgotten first
}

// newBook reads what an earlier start wrote. A damaged file is no more than an
// empty one: addresses are hints.
func newBook(self peer.ID, b []byte) *book {
	k := &book{pages: map[peer.ID]*page{}}
	var pages []page
	if b == nil || protocol.Decode(b, &pages) != nil {
		return k
	}
	for i := range pages {
		if p := &pages[i]; len(k.pages) < maxBook && p.Peer != self {
			p.Addrs = p.Addrs[:min(len(p.Addrs), maxAddrs)]
			k.pages[p.Peer] = p
		}
	}
	return k
}

// add replaces the addresses of p. None leave the old ones.
func (k *book) add(p peer.ID, addrs []ma.Multiaddr, now time.Time) {
	encoded := encodeAddrs(addrs)
	if len(encoded) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.pages[p]
	if old == nil && len(k.pages) >= maxBook {
		k.forgetOldest()
	}
	k.pages[p] = &page{Peer: p, Addrs: encoded, Seen: now.Unix()}
	k.dirty = k.dirty || old == nil || !slices.EqualFunc(old.Addrs, encoded, slices.Equal)
}

// hint adds addresses beside those that are known.
func (k *book) hint(p peer.ID, addrs []ma.Multiaddr, now time.Time) {
	all := addrs
	for _, a := range k.addrs(p) {
		if !slices.ContainsFunc(addrs, a.Equal) {
			all = append(slices.Clip(all), a)
		}
	}
	k.add(p, all, now)
}

func (k *book) forgetOldest() {
	var oldest *page
	for _, p := range k.pages {
		if oldest == nil || p.Seen < oldest.Seen {
			oldest = p
		}
	}
	delete(k.pages, oldest.Peer)
}

func (k *book) addrs(p peer.ID) []ma.Multiaddr {
	k.mu.Lock()
	defer k.mu.Unlock()
	if page := k.pages[p]; page != nil {
		return decodeAddrs(page.Addrs)
	}
	return nil
}

func (k *book) peers() []peer.ID {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]peer.ID, 0, len(k.pages))
	for p := range k.pages {
		out = append(out, p)
	}
	return out
}

// save writes the book to its file if it has changed.
func (k *book) save(h home) error {
	k.mu.Lock()
	dirty := k.dirty
	k.dirty = false
	pages := make([]page, 0, len(k.pages))
	for _, p := range k.pages {
		pages = append(pages, *p)
	}
	k.mu.Unlock()
	if !dirty {
		return nil
	}
	slices.SortFunc(pages, func(a, b page) int { return cmpID(a.Peer, b.Peer) })
	if err := h.write(bookFile, protocol.Encode(pages), false); err != nil {
		k.mu.Lock()
		k.dirty = true
		k.mu.Unlock()
		return err
	}
	return nil
}
