package mesh

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/protocol"
)

// patience is how long a test waits for what takes milliseconds on an idle
// machine.
const patience = 30 * time.Second

// checkLeaks fails the test when goroutines outlive it. Some parts end a little
// after they were told to: memberlist's probes under way, gossipsub's loops.
func checkLeaks(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		end := time.Now().Add(patience)
		err := goleak.Find(before)
		for err != nil && time.Now().Before(end) {
			err = goleak.Find(before)
		}
		if err != nil {
			t.Error(err)
		}
	})
}

func testConfig(dir string) Config {
	return Config{Dir: dir, Name: "test", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, NoDHTRefresh: true, Slots: 2}
}

// running is a Mesh whose Run is under way.
type running struct {
	*Mesh
	err chan error // what Run returned
}

// launch starts a mesh and does not wait until it is ready.
func launch(t *testing.T, cfg Config) *running {
	t.Helper()
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{Mesh: m, err: make(chan error, 1)}
	go func() { r.err <- m.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// start starts a mesh and waits until it is ready.
func start(t *testing.T, cfg Config) *running {
	t.Helper()
	r := launch(t, cfg)
	select {
	case <-r.Ready():
	case err := <-r.err:
		t.Fatalf("run: %v", err)
	case <-time.After(patience):
		t.Fatal("not ready")
	}
	return r
}

// pair is a founder and one node that it invited.
func pair(t *testing.T) (a, b *running) {
	t.Helper()
	a = start(t, testConfig(t.TempDir()))
	b = start(t, joining(t, a))
	awaitAlive(t, 2, a, b)
	return a, b
}

// joining is a configuration with a fresh token.
func joining(t *testing.T, inviter *running) Config {
	t.Helper()
	token, err := inviter.Invite(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t.TempDir())
	cfg.Join = token
	return cfg
}

// grow is a mesh of n nodes, founder first.
func grow(t *testing.T, n int) []*running {
	t.Helper()
	nodes := []*running{start(t, testConfig(t.TempDir()))}
	for range n - 1 {
		nodes = append(nodes, launch(t, joining(t, nodes[0])))
	}
	awaitAlive(t, n, nodes...)
	return nodes
}

// awaitAlive waits until each of the nodes has n live members.
func awaitAlive(t *testing.T, n int, nodes ...*running) {
	t.Helper()
	end := time.After(patience)
	for _, r := range nodes {
		for {
			changed := r.Changed()
			if len(r.Alive()) == n {
				break
			}
			select {
			case <-changed:
			case <-end:
				t.Fatalf("%s has %d live members, not %d: %+v", r.ID(), len(r.Alive()), n, r.Members())
			}
		}
	}
}

// await polls for what has no channel.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited in vain: " + what)
		}
	}
}

func stateOf(r *running, p peer.ID) string {
	for _, m := range r.Members() {
		if m.ID == p {
			return m.State
		}
	}
	return ""
}

func outcome(t *testing.T, r *running) error {
	t.Helper()
	select {
	case err := <-r.err:
		return err
	case <-time.After(patience):
		t.Fatal("Run did not end")
		return nil
	}
}

func TestFoundInviteJoin(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	if a.MeshID() != b.MeshID() || a.ID() == b.ID() {
		t.Fatalf("meshes %s and %s", a.MeshID(), b.MeshID())
	}
	if !a.IsMember(b.ID()) || !b.IsMember(a.ID()) || !slices.Equal(a.Roles(b.ID()), protocol.AllRoles()) {
		t.Errorf("roles of the joiner: %v", a.Roles(b.ID()))
	}
	for _, m := range a.Members() {
		if m.Self != (m.ID == a.ID()) || m.State != StateAlive || m.Name != "test" || m.Slots != 2 || m.Boot == 0 {
			t.Errorf("member %+v", m)
		}
		if len(m.Addrs) == 0 || !strings.HasSuffix(m.Addrs[0], "/p2p/"+m.ID.String()) {
			t.Errorf("addresses %v", m.Addrs)
		}
	}
}

func TestTokenAdmitsOneNode(t *testing.T) {
	checkLeaks(t)
	nodes := grow(t, 3)
	cfg := joining(t, nodes[1])
	start(t, cfg)
	awaitAlive(t, 4, nodes...)
	cfg.Dir = t.TempDir()
	err := outcome(t, launch(t, cfg))
	var refused *RefusedError
	if !errors.Is(err, ErrSpent) || !errors.As(err, &refused) || !strings.Contains(err.Error(), "already used") {
		t.Errorf("a token's second use: %v", err)
	}
}

func TestExpiredTokenIsRefused(t *testing.T) {
	checkLeaks(t)
	a := start(t, testConfig(t.TempDir()))
	past := time.Now().Add(-2 * time.Hour)
	// As if the clock of the joiner stood in the past.
	token, err := protocol.NewToken(chainAt(t, a, past), a.Key(), a.Addrs(), protocol.AllRoles(), past, past.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t.TempDir())
	cfg.Join = token.String()
	if _, err := New(cfg); !errors.Is(err, protocol.ErrExpired) {
		t.Errorf("an expired token: %v", err)
	}
	cfg.Join = token.String()[:100]
	if _, err := New(cfg); !errors.Is(err, protocol.ErrToken) {
		t.Errorf("half a token: %v", err)
	}
}

// chainAt is the chain of a founder that founded its mesh in the past.
func chainAt(t *testing.T, a *running, at time.Time) *protocol.Chain {
	t.Helper()
	key, _, err := a.dir.key(meshKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := protocol.Found(key, a.ID(), at)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestStrangersGetNoStream(t *testing.T) {
	checkLeaks(t)
	a := start(t, testConfig(t.TempDir()))
	other := start(t, testConfig(t.TempDir()))
	plain, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Close() })
	var streams sync.Map
	a.Host().SetStreamHandler("/probe", func(s network.Stream) {
		streams.Store(s.Conn().RemotePeer(), true)
		_ = s.Reset()
	})
	info, err := peer.AddrInfoFromString(a.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := other.Host().Connect(ctx, *info); !errors.Is(err, protocol.ErrWrongMesh) {
		t.Errorf("a node of another mesh: %v", err)
	}
	// A plain host may take the connection for open until it is dropped.
	if err := plain.Connect(ctx, *info); err == nil {
		if s, err := plain.NewStream(ctx, a.ID(), "/probe"); err == nil {
			_, err = s.Read(make([]byte, 1))
			if err == nil {
				t.Error("a plain host got an answer")
			}
		}
	}
	if n := len(a.Host().Network().Peers()); n != 0 {
		t.Errorf("%d strangers are connected", n)
	}
	streams.Range(func(p, _ any) bool { t.Errorf("%s opened a stream", p); return true })
}

func TestRestartNeedsNoToken(t *testing.T) {
	checkLeaks(t)
	a := start(t, testConfig(t.TempDir()))
	cfg := joining(t, a)
	b := start(t, cfg)
	awaitAlive(t, 2, a, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	awaitAlive(t, 1, a)
	boot, addrs := b.Boot(), b.id.id
	token := cfg.Join
	cfg.Join = ""
	again := start(t, cfg)
	awaitAlive(t, 2, a, again)
	if again.ID() != addrs || again.Boot() == boot {
		t.Errorf("restarted as %s with boot ID %d", again.ID(), again.Boot())
	}
	await(t, "the new boot ID", func() bool {
		return slices.ContainsFunc(a.Members(), func(m Member) bool { return m.ID == again.ID() && m.Boot == again.Boot() })
	})
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Join = token // the same mesh: only its addresses count
	awaitAlive(t, 2, start(t, cfg))
	other := start(t, testConfig(t.TempDir()))
	cfg = joining(t, other)
	cfg.Dir = string(a.dir)
	if _, err := New(cfg); !errors.Is(err, protocol.ErrWrongMesh) {
		t.Errorf("a token of another mesh: %v", err)
	}
}

func TestRestartWithNobodyThere(t *testing.T) {
	checkLeaks(t)
	a, b := pair(t)
	cfg := b.cfg
	cfg.Join, cfg.Boot = "", 0
	acfg := a.cfg
	acfg.Boot = 0
	await(t, "addresses on disk", func() bool {
		ours, _ := a.dir.read(bookFile)
		theirs, _ := b.dir.read(bookFile)
		return ours != nil && theirs != nil
	})
	b.Kill()
	a.Kill()
	again := start(t, cfg)
	if n := len(again.Alive()); n != 1 {
		t.Errorf("%d alive", n)
	}
	// Both have changed ports or not; each knows the other's last one.
	awaitAlive(t, 2, start(t, acfg), again)
}

func TestTwelveNodesAndDeath(t *testing.T) {
	checkLeaks(t)
	nodes := grow(t, 12)
	victim := nodes[5]
	rest := slices.Concat(nodes[:5], nodes[6:])
	began := time.Now()
	victim.Kill()
	awaitAlive(t, 11, rest...)
	t.Logf("unnoticed for %v", time.Since(began))
	for _, r := range rest {
		if slices.Contains(r.Alive(), victim.ID()) {
			t.Errorf("%s still counts the victim", r.ID())
		}
		await(t, "death", func() bool { return stateOf(r, victim.ID()) == StateDead })
	}
	t.Logf("all say dead after %v", time.Since(began))
}

func TestLeaveIsNoDeath(t *testing.T) {
	checkLeaks(t)
	nodes := grow(t, 5)
	began := time.Now()
	if err := nodes[2].Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("leaving took %v", time.Since(began))
	rest := slices.Concat(nodes[:2], nodes[3:])
	awaitAlive(t, 4, rest...)
	for _, r := range rest {
		await(t, "farewell", func() bool { return stateOf(r, nodes[2].ID()) == StateLeft })
	}
}

func TestConnectionsComeBack(t *testing.T) {
	checkLeaks(t)
	nodes := grow(t, 4)
	for _, r := range nodes {
		for _, c := range r.Host().Network().Conns() {
			_ = c.Close()
		}
	}
	for _, r := range nodes {
		await(t, "all connections", func() bool { return len(r.Host().Network().Peers()) == 3 })
	}
	awaitAlive(t, 4, nodes...)
}

func TestAnnounceReachesOthers(t *testing.T) {
	checkLeaks(t)
	nodes := grow(t, 4)
	said := Load{Running: 3, Queued: 7, Kinds: []protocol.ProgramKind{protocol.Wasm}, Funcs: []string{"f@1"}}
	nodes[1].Announce(said)
	for _, r := range nodes {
		await(t, "the load report", func() bool {
			return slices.ContainsFunc(r.Members(), func(m Member) bool { return m.ID == nodes[1].ID() && m.Load.equal(said) })
		})
	}
}

func TestPortInUse(t *testing.T) {
	checkLeaks(t)
	a := start(t, testConfig(t.TempDir()))
	cfg := testConfig(t.TempDir())
	addr, _, _ := strings.Cut(a.Addrs()[0], "/p2p/")
	cfg.Listen = []string{addr}
	err := outcome(t, launch(t, cfg))
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestBadConfig(t *testing.T) {
	checkLeaks(t)
	for _, listen := range []string{"", "127.0.0.1:80", "/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1"} {
		cfg := testConfig(t.TempDir())
		cfg.Listen = []string{listen}
		if m, err := New(cfg); err == nil {
			t.Errorf("listen address %q was accepted", listen)
			_ = m.Close()
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no directory was accepted")
	}
}

func TestCloseWithoutRun(t *testing.T) {
	checkLeaks(t)
	m, err := New(testConfig(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := m.Run(context.Background()); err == nil {
		t.Error("a closed mesh ran")
	}
}

func TestRolesNarrowInvitations(t *testing.T) {
	checkLeaks(t)
	a := start(t, testConfig(t.TempDir()))
	token, err := a.Invite([]string{protocol.RoleWork}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t.TempDir())
	cfg.Join = token
	b := start(t, cfg)
	if got := b.Roles(b.ID()); !slices.Equal(got, []string{protocol.RoleWork}) {
		t.Errorf("roles %v", got)
	}
	if _, err := b.Invite(nil, 0); !errors.Is(err, protocol.ErrNotMember) {
		t.Errorf("a worker invited: %v", err)
	}
	if _, err := a.Invite([]string{"king"}, 0); err == nil {
		t.Error("an unknown role was given")
	}
}
