package mesh

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

func newKey(t testing.TB) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

func TestLoadStaysInBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, size := rapid.IntRange(1, 256).Draw(t, "members"), rapid.IntRange(20, maxReport).Draw(t, "bytes")
		slots := rapid.IntRange(1, 64).Draw(t, "slots")
		now := time.Unix(1_000_000, 0)
		began, sent := now, 0
		var p pace
		for i := range 300 {
			now = now.Add(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
			l := Load{Running: rapid.IntRange(0, 200).Draw(t, "running"), Seq: uint64(i + 1)}
			before := p.last
			if ok, _ := p.due(l, n, size, slots, now); ok {
				if !before.IsZero() && now.Sub(before) < loadSoon {
					t.Fatalf("two reports within %v", now.Sub(before))
				}
				p.sent(l, now.Sub(before) < interval(n, size), now)
				sent++
			}
		}
		// What all members send, if they are alike, and their neighbours pass on.
		received := float64(sent-loadBurst-1) * float64(n*(size+loadOverhead)*loadCopies)
		if rate := received / now.Sub(began).Seconds(); rate > 2*loadBudget {
			t.Fatalf("%d members send %.0f bytes/s to each", n, rate)
		}
	})
}

func TestFirstUserOfATokenKeepsIt(t *testing.T) {
	now := time.Now()
	meshKey, mesh := newKey(t)
	founderKey, founder := newKey(t)
	chain, err := protocol.Found(meshKey, founder, now)
	if err != nil {
		t.Fatal(err)
	}
	token, err := protocol.NewToken(chain, founderKey, nil, protocol.AllRoles(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	firstKey, first := newKey(t)
	_, second := newKey(t)
	_, third := newKey(t)
	one, err := token.Redeem(first, now)
	if err != nil {
		t.Fatal(err)
	}
	two, err := token.Redeem(second, now)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoster(mesh)
	for range 2 {
		if _, err := r.admit(first, one.Encode(), now); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.admit(second, two.Encode(), now); !errors.Is(err, ErrSpent) || r.isMember(second) {
		t.Errorf("the second user: %v", err)
	}
	// Nor may anybody whom the second user would have invited.
	other := newRoster(mesh)
	if _, err := other.admit(second, two.Encode(), now); err != nil {
		t.Fatal(err)
	}
	invite, err := protocol.NewToken(one, firstKey, nil, []string{protocol.RoleWork}, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	grandchild, err := invite.Redeem(third, now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.admit(third, grandchild.Encode(), now); !errors.Is(err, ErrSpent) {
		t.Errorf("a guest of the loser: %v", err)
	}
	merged := newRoster(mesh)
	if added, err := merged.merge(encodeEntries(r.some(maxRoster)), now); err != nil || !slices.Equal(added, []peer.ID{first}) {
		t.Errorf("merged %v, %v", added, err)
	}
}

func TestViewStates(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	_, self := newKey(t)
	_, p := newKey(t)
	v := newView(self, func(peer.ID) bool { return true })
	v.becomeUp(self, meta{Boot: 1}, now)
	steps := []struct {
		name  string
		do    func()
		state string
	}{
		{"joined", func() { v.becomeUp(p, meta{Boot: 7}, now) }, StateAlive},
		{"unreachable", func() { v.becomeSuspect(p) }, StateSuspect},
		{"reached again", func() { v.becomeReached(p, now) }, StateAlive},
		{"given up", func() { v.becomeDown(p, now) }, StateDead},
		{"refuted", func() { v.becomeUp(p, meta{Boot: 7}, now) }, StateAlive},
		{"an old farewell", func() { v.becomeLeft(p, 6, now) }, StateAlive},
		{"a farewell", func() { v.becomeLeft(p, 7, now) }, StateLeft},
		{"late news of its life", func() { v.becomeUp(p, meta{Boot: 7}, now) }, StateLeft},
		{"restarted", func() { v.becomeUp(p, meta{Boot: 8}, now) }, StateAlive},
		{"forgotten never while up", func() { v.review(now.Add(2 * rememberDead)) }, StateAlive},
		{"gone", func() { v.becomeDown(p, now); v.review(now.Add(2 * rememberDead)) }, ""},
	}
	for _, s := range steps {
		changed, before := v.change(), v.live()
		s.do()
		if state, _ := v.state(p); state != s.state {
			t.Fatalf("%s: %q, want %q", s.name, state, s.state)
		}
		if got := slices.Contains(v.live(), p); got != (s.state == StateAlive) {
			t.Errorf("%s: alive %v", s.name, got)
		}
		select {
		case <-changed:
			if slices.Equal(before, v.live()) {
				t.Errorf("%s: nothing changed", s.name)
			}
		default:
			if !slices.Equal(before, v.live()) {
				t.Errorf("%s: a change was not told", s.name)
			}
		}
	}
}

// TestWhileEndsWithTheMember holds that nobody waits for a member that hangs.
func TestWhileEndsWithTheMember(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	_, self := newKey(t)
	_, p := newKey(t)
	_, stranger := newKey(t)
	v := newView(self, func(peer.ID) bool { return true })
	v.becomeUp(self, meta{Boot: 1}, now)
	v.becomeUp(p, meta{Boot: 7}, now)
	ctx, cancel := v.while(t.Context(), p)
	defer cancel()
	unknown, end := v.while(t.Context(), stranger)
	if ctx.Err() != nil {
		t.Fatalf("it ended with the member alive: %v", context.Cause(ctx))
	}
	v.becomeDown(p, now)
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, ErrGone) {
		t.Errorf("it ended with %v", err)
	}
	late, cancel := v.while(t.Context(), p) // the list it came from was old
	defer cancel()
	<-late.Done()
	if err := context.Cause(late); !errors.Is(err, ErrGone) {
		t.Errorf("one begun late ended with %v", err)
	}
	if unknown.Err() != nil {
		t.Error("it ended for one that was never seen")
	}
	end()
	<-unknown.Done()
}

func TestBookForgetsTheOldest(t *testing.T) {
	_, self := newKey(t)
	k := newBook(self, []byte("damaged"))
	now := time.Unix(1_000_000, 0)
	addr := []ma.Multiaddr{ma.StringCast("/ip4/10.0.0.1/tcp/1")}
	var ids []peer.ID
	for i := range maxBook + 1 {
		_, p := newKey(t)
		ids = append(ids, p)
		k.add(p, addr, now.Add(time.Duration(i)*time.Second))
	}
	if n := len(k.peers()); n != maxBook || k.addrs(ids[0]) != nil {
		t.Errorf("%d peers, the oldest at %v", n, k.addrs(ids[0]))
	}
	dir := home(t.TempDir())
	if err := k.save(dir); err != nil {
		t.Fatal(err)
	}
	b, err := dir.read(bookFile)
	if err != nil {
		t.Fatal(err)
	}
	if again := newBook(self, b); len(again.peers()) != maxBook || len(again.addrs(ids[1])) != 1 {
		t.Errorf("%d peers read back", len(again.peers()))
	}
}

func TestMetaFits(t *testing.T) {
	long := ma.StringCast("/ip6/2001:db8:ffff:ffff:ffff:ffff:ffff:ffff/tcp/65535")
	m := meta{Name: string(bytes.Repeat([]byte("n"), maxName)), Version: string(bytes.Repeat([]byte("v"), maxVersion)), Boot: 1 << 63, Slots: maxSlots}
	for range maxAddrs {
		m.Addrs = append(m.Addrs, long.Bytes())
	}
	for _, limit := range []int{512, 200} {
		b := m.encode(limit)
		got, err := decodeMeta(b)
		if err != nil || len(b) > limit || got.Boot != m.Boot {
			t.Errorf("limit %d: %d bytes, %v", limit, len(b), err)
		}
	}
}

// FuzzDecoders feeds everything that a member, or a stranger, may send.
func FuzzDecoders(f *testing.F) {
	_, self := newKey(f)
	f.Add(meta{Name: "a", Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 0, 1}}}.encode(512))
	f.Add(protocol.Encode(report{Load: Load{Running: 1, Kinds: []protocol.ProgramKind{protocol.Wasm}}}))
	f.Add(protocol.Encode(newsItem{Admitted: &rosterEntry{Peer: self}}))
	f.Add(append([]byte{0, 0, 0, 3}, 0x82, 0x40, 0x40))
	f.Add(protocol.Encode([]page{{Peer: self, Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 0, 1}}, Seen: 1}}))
	f.Add(protocol.Encode([]rosterEntry{{Peer: self, Chain: []byte{1}}}))
	f.Add(protocol.Encode(newsItem{Farewell: &protocol.Signed{Body: protocol.Encode(farewell{Peer: self, Boot: 1})}}))
	f.Add(said(hello{Mesh: self, Chain: []byte{1}}))
	f.Add(said(reply{Verdict: verdict{Code: "spent", Text: "x"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMeta(b); err == nil && len(m.addrs()) > maxAddrs {
			t.Fatal("too many addresses")
		}
		if r, err := decodeReport(b); err == nil && !r.Load.bounded() {
			t.Fatal("unbounded load")
		}
		r := newRoster(self)
		v := newView(self, r.isMember)
		newNews(self, r, v, slog.New(slog.DiscardHandler)).receive(b)
		if _, err := r.merge(b, time.Now()); err == nil && len(r.members) > 0 {
			t.Fatal("a member from nowhere")
		}
		for p, page := range newBook("", b).pages {
			if p != page.Peer || len(page.Addrs) > maxAddrs {
				t.Fatalf("the book holds %+v for %s", page, p)
			}
		}
		g := &gate{self: hello{Mesh: self}, admit: func(peer.ID, []byte) error { return protocol.ErrNotMember }, connected: func(peer.ID) bool { return false }}
		if g.receive(script{Reader: bytes.NewReader(b)}, self) == nil {
			t.Fatal("a stranger was let in")
		}
		if g.present(script{Reader: bytes.NewReader(b)}, self) == nil {
			t.Fatal("a stranger was taken for a member")
		}
	})
}

// said is a message of the admission as it travels.
func said(v any) []byte {
	var out bytes.Buffer
	_ = writeAdmission(&out, v) // a buffer takes everything
	return out.Bytes()
}

// script is a connection that says what it was told to and swallows the rest.
type script struct {
	net.Conn
	io.Reader
}

func (s script) Read(b []byte) (int, error)  { return s.Reader.Read(b) }
func (s script) Write(b []byte) (int, error) { return len(b), nil }
