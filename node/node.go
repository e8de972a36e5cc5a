package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/exchange"
	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/internal/mesh"
	"github.com/meshnode/meshnode/internal/task"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// Node is one peer of a mesh.
type Node struct {
	cfg  Config
	id   peer.ID
	boot uint64 // drawn at every start
	log  *slog.Logger

	store    *storage.Store
	mesh     *mesh.Mesh
	exchange *exchange.Exchange
	guests   *guest.Pool
	runner   *task.Runner
	wire     *wire
	caller   *caller
	loop     *loop

	refused        tally // what peers sent and was not taken, by cause
	sent, received tally // messages and calls, by kind

	known     sync.Map // protocol.CID -> *protocol.Manifest, of jobs that the loop knows
	abilities sync.Map // peer.ID -> ability
	asking    sync.Map // peer.ID, of members that are being asked for theirs
	// clockOffset is how far ahead of this node's clock the time is that it goes
	// by for what is absolute, in nanoseconds; the loop sets it.
	clockOffset atomic.Int64
	finished    chan ended    // runs on their way to the stewards
	holding     chan struct{} // a place for each fetch done for others
	fetching    chan struct{} // and for each done for what waits here

	ctx      context.Context // ends with the node; every goroutine hangs on it
	cancel   context.CancelFunc
	wg       sync.WaitGroup
	leave    chan struct{} // closed to end Run
	leaving  sync.Once
	started  bool
	mu       sync.Mutex // guards started
	ended    chan struct{}
	closing  sync.Once
	closeErr error
}

// maxFinished bounds the runs that wait for their receipts to be signed.
const maxFinished = 256

// New opens a node's directory and prepares the node; nothing is sent before
// Run. It fails with ErrInUse when another process uses the directory, and
// with ErrInput.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	store, err := storage.OpenConfig(storage.Config{Dir: cfg.path("store"), Volatile: cfg.Testing})
	if err != nil {
		if errors.Is(err, storage.ErrInUse) {
			return nil, fmt.Errorf("%w: %s", ErrInUse, cfg.Dir)
		}
		return nil, err
	}
	n := &Node{
		cfg: cfg, boot: rand.Uint64() | 1, log: cfg.Logger, store: store,
		finished: make(chan ended, maxFinished), holding: make(chan struct{}, maxHolds), fetching: make(chan struct{}, maxFetching),
		leave: make(chan struct{}), ended: make(chan struct{}),
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.build(); err != nil {
		n.cancel()
		return nil, errors.Join(err, store.Close())
	}
	return n, nil
}

// build makes the node's parts and ties them together.
func (n *Node) build() error {
	if err := n.clearScratch(); err != nil {
		return err
	}
	m, err := mesh.New(mesh.Config{
		Dir: n.cfg.path("mesh"), Name: n.cfg.Name, Version: n.cfg.Version, Listen: n.cfg.Listen, Join: n.cfg.Join,
		MDNS: n.cfg.MDNS, Boot: n.boot, Slots: n.cfg.Slots, NoDHTRefresh: n.cfg.Testing, WAN: n.cfg.Testing, Logger: n.log,
	})
	if err != nil {
		return err
	}
	n.mesh, n.id = m, m.ID()
	n.exchange = exchange.New(exchange.Config{Host: m.Host(), Store: n.store, Logger: n.log, Allow: m.IsMember, While: m.While})
	n.guests = n.cfg.Guests
	if n.guests == nil {
		n.guests = guest.NewPool(guest.Config{Size: n.cfg.Slots, Dir: n.cfg.path("guests"), Logger: n.log})
	}
	funcs := map[string]task.Func{}
	for name, f := range n.cfg.Funcs {
		funcs[funcID(name)] = task.Func(f)
	}
	n.runner = task.NewRunner(task.Config{Store: n.store, Guests: n.guests, Funcs: funcs, Dir: n.cfg.path("tasks"), Inputs: taskInputs{n}})
	n.wire = newWire(m.Host(), n.log, n.receive)
	n.caller = newCaller(m.Host(), n.log, n.answer)
	n.caller.while = m.While
	n.loop = newLoop(n)
	refused := func(r Refusal) { n.refused.add(string(r)) }
	n.wire.refused, n.wire.sent, n.wire.received = refused, &n.sent, &n.received
	n.caller.refused, n.caller.sent, n.caller.received = refused, &n.sent, &n.received
	return nil
}

// clearScratch removes what an earlier run of the node left half done.
func (n *Node) clearScratch() error {
	for _, dir := range []string{n.cfg.path("tmp"), n.cfg.path("tasks")} {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("clearing scratch: %w", err)
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("making scratch: %w", err)
		}
	}
	return nil
}

// Run runs the node until ctx ends or Close is called, then leaves the mesh
// and waits for all of the node's parts to end. It fails when the node cannot
// join its mesh or listen.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	if n.started {
		n.mu.Unlock()
		return errors.New("a node runs once")
	}
	n.started = true
	n.mu.Unlock()
	defer close(n.ended)
	meshCtx, leave := context.WithCancel(context.Background())
	defer leave()
	failed := make(chan error, 1)
	n.wg.Go(func() { failed <- n.mesh.Run(meshCtx) })
	n.exchange.Start()
	n.caller.start()
	n.wg.Go(func() { n.loop.run(n.ctx) })
	n.wg.Go(n.deliver)
	n.wire.start()
	n.wg.Go(n.resume)
	n.wg.Go(n.sweep)
	n.announceLoad(0, 0)

	var err error
	select {
	case <-ctx.Done():
	case <-n.leave:
	case err = <-failed:
		failed <- nil
	}
	n.cancel()
	leave() // says goodbye, unless the node is killed
	if e := <-failed; err == nil {
		err = e
	}
	return errors.Join(err, n.release())
}

// release ends the node's parts, in the order of who uses whom.
func (n *Node) release() error {
	n.closing.Do(func() {
		n.cancel()
		n.wire.close()
		n.caller.close()
		n.exchange.Close()
		if n.cfg.Guests == nil {
			_ = n.guests.Close()
		}
		n.wg.Wait()
		n.closeErr = errors.Join(n.mesh.Close(), n.store.Close())
	})
	return n.closeErr
}

// Ready is closed once the node listens and has joined or founded its mesh.
func (n *Node) Ready() <-chan struct{} { return n.mesh.Ready() }

// Close ends the node as the end of Run's context does, waits, and may be
// called twice. A node that never ran is released.
func (n *Node) Close() error {
	n.leaving.Do(func() { close(n.leave) })
	n.mu.Lock()
	ran := n.started
	n.started = true
	n.mu.Unlock()
	if ran {
		<-n.ended
	}
	return n.release()
}

// Kill ends the node without a word to anybody, as a crash would, and waits.
// It is for tests of faults.
func (n *Node) Kill() {
	n.mesh.Kill()
	_ = n.Close()
}

// ID is the node's peer ID.
func (n *Node) ID() peer.ID { return n.id }

// Status is the node's account of itself.
func (n *Node) Status() Status {
	st := Status{
		ID: n.id, Name: n.cfg.Name, Dir: n.cfg.Dir, Addrs: n.mesh.Addrs(), Mesh: n.mesh.MeshID(),
		Peers: len(others(n.mesh.Alive(), n.id)), Slots: n.cfg.Slots, RSSBytes: residentMemory(), Version: n.cfg.Version,
	}
	st.Blocks, st.Bytes = n.store.Stats()
	st.Refused, st.Sent, st.Received = n.refused.all(), n.sent.all(), n.received.all()
	st.ClockOffset = time.Duration(n.clockOffset.Load()).Seconds()
	n.loop.do(n.ctx, func(time.Time) { st.Running, st.Queued = n.loop.worker.Load() })
	return st
}

// residentMemory is the resident set of this process in bytes, or 0 where the
// system does not say.
func residentMemory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// Peers are the members that this node knows, itself first, then by name and
// ID.
func (n *Node) Peers() []Peer {
	var out []Peer
	for _, m := range n.mesh.Members() {
		out = append(out, Peer{
			ID: m.ID, Name: m.Name, State: PeerState(m.State), Self: m.Self, Addrs: m.Addrs, Slots: m.Slots,
			Load: float64(m.Load.Running+m.Load.Queued) / float64(max(1, m.Slots)), Version: m.Version,
			Labels: n.labelsOf(m.ID),
		})
	}
	slices.SortFunc(out, func(a, b Peer) int {
		switch {
		case a.Self != b.Self && a.Self:
			return -1
		case a.Self != b.Self:
			return 1
		case a.Name != b.Name:
			return strings.Compare(a.Name, b.Name)
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out
}

// labelsOf are the labels of a member, as far as it has said.
func (n *Node) labelsOf(id peer.ID) []string {
	if id == n.id {
		return n.cfg.Labels
	}
	if known, ok := n.abilities.Load(id); ok {
		return known.(ability).can.Labels
	}
	return nil
}

// Invite makes a token that admits one node to the mesh. It needs the admin
// role.
func (n *Node) Invite(o InviteOptions) (string, error) { return n.mesh.Invite(o.Roles, o.For) }

// kinds are the kinds of programs that this node runs.
func (n *Node) kinds() []protocol.ProgramKind {
	kinds := []protocol.ProgramKind{protocol.Wasm}
	if n.cfg.AllowExec {
		kinds = append(kinds, protocol.Exec)
	}
	if len(n.cfg.Funcs) > 0 {
		kinds = append(kinds, protocol.Func)
	}
	return kinds
}

// has is what tasks find on this node.
func (n *Node) has() protocol.Needs {
	return protocol.Needs{Kinds: n.kinds(), Funcs: n.funcNames(), Cores: n.cfg.Slots, Memory: n.cfg.Memory, Labels: n.cfg.Labels}
}

// announceLoad lets the mesh know how loaded this node is and what it runs.
func (n *Node) announceLoad(running, queued int) {
	n.mesh.Announce(mesh.Load{Running: running, Queued: queued, Kinds: n.kinds(), Funcs: n.funcNames()})
}

// scratchFile makes a new file in the node's scratch folder.
func (n *Node) scratchFile(pattern string) (*os.File, error) {
	f, err := os.CreateTemp(n.cfg.path("tmp"), pattern)
	if err != nil {
		return nil, fmt.Errorf("making scratch in %s: %w", filepath.Dir(n.cfg.path("tmp")), err)
	}
	return f, nil
}
