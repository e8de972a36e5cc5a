// Package testnet runs many nodes of one mesh in this process, on real
// loopback sockets: to try a mesh out, to test a program that embeds nodes,
// and to test the mesh itself.
//
//	net, err := testnet.Start(ctx, testnet.Config{Nodes: 5})
//	defer net.Close()
//	job, err := net.Node(0).Submit(ctx, spec, nil)
//
// The nodes share one pool of child processes, as nodes of one machine should.
// All methods may be called from any goroutine.
package testnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/node"
)

// MaxNodes bounds a testnet: beyond one region of nodes, which all know each
// other, one process is no longer a fair picture of a mesh.
const MaxNodes = 128

// startTogether is how many nodes are started at once.
const startTogether = 8

// convergeWait bounds how long Start waits for all nodes to know each other.
const convergeWait = 2 * time.Minute

// Config configures a testnet. The zero value of a field means its default.
type Config struct {
	Nodes     int    // 5
	Dir       string // a temporary folder, removed by Close
	Slots     int    // tasks that one node runs at once; 1
	AllowExec bool
	Funcs     map[string]node.Func
	Roles     map[int][]string // of node i, where it is not to have all; node 0 founds
	// Logger returns the logger of node i; none by default.
	Logger func(i int) *slog.Logger
}

// Net is a running testnet.
type Net struct {
	cfg    Config
	temp   bool // Dir is ours to remove
	guests *guest.Pool
	cancel context.CancelFunc
	ctx    context.Context // of the nodes' Run

	mu    sync.Mutex
	nodes []*member
	once  sync.Once
	err   error
}

type member struct {
	node *node.Node
	dead bool
	done chan struct{}
	err  error
}

// Start founds a mesh, lets the other nodes join it, and returns when all of
// them know each other. What was started is ended when it fails.
func Start(ctx context.Context, cfg Config) (*Net, error) {
	if cfg.Nodes == 0 {
		cfg.Nodes = 5
	}
	if cfg.Nodes < 1 || cfg.Nodes > MaxNodes {
		return nil, fmt.Errorf("a testnet of %d nodes: 1 to %d are possible in one process", cfg.Nodes, MaxNodes)
	}
	if cfg.Slots == 0 {
		cfg.Slots = 1
	}
	t := &Net{cfg: cfg}
	if err := t.makeDir(); err != nil {
		return nil, err
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	t.guests = guest.NewPool(guest.Config{Size: runtime.NumCPU(), Dir: filepath.Join(t.cfg.Dir, "guests"), Idle: 5 * time.Second})
	t.nodes = make([]*member, cfg.Nodes)
	if err := t.startAll(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *Net) makeDir() error {
	if t.cfg.Dir != "" {
		return os.MkdirAll(t.cfg.Dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "meshnode-testnet-")
	if err != nil {
		return fmt.Errorf("making the testnet's folder: %w", err)
	}
	t.cfg.Dir, t.temp = dir, true
	return nil
}

func (t *Net) startAll(ctx context.Context) error {
	if err := t.start(ctx, 0, ""); err != nil {
		return err
	}
	places := make(chan struct{}, startTogether)
	errs := make([]error, t.cfg.Nodes)
	var wg sync.WaitGroup
	for i := 1; i < t.cfg.Nodes; i++ {
		places <- struct{}{}
		wg.Go(func() {
			defer func() { <-places }()
			token, err := t.Node(0).Invite(node.InviteOptions{Roles: t.cfg.Roles[i]})
			if err == nil {
				err = t.start(ctx, i, token)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.converge(ctx)
}

// start starts node i and waits until it has joined.
func (t *Net) start(ctx context.Context, i int, token string) error {
	cfg := node.Config{
		Dir: filepath.Join(t.cfg.Dir, fmt.Sprintf("node-%02d", i)), Name: fmt.Sprintf("node-%02d", i),
		Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token, Slots: t.cfg.Slots,
		AllowExec: t.cfg.AllowExec, Funcs: t.cfg.Funcs, Guests: t.guests, Testing: true,
	}
	if t.cfg.Logger != nil {
		cfg.Logger = t.cfg.Logger(i)
	}
	n, err := node.New(cfg)
	if err != nil {
		return fmt.Errorf("starting node %d: %w", i, err)
	}
	m := &member{node: n, done: make(chan struct{})}
	t.mu.Lock()
	t.nodes[i] = m
	t.mu.Unlock()
	go func() {
		defer close(m.done)
		m.err = n.Run(t.ctx)
	}()
	select {
	case <-n.Ready():
		return nil
	case <-m.done:
		return fmt.Errorf("starting node %d: %w", i, m.err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// converge waits until every node knows every other.
func (t *Net) converge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, convergeWait)
	defer cancel()
	for i := range t.cfg.Nodes {
		for {
			known := t.Node(i).Status().Peers + 1
			if known == t.cfg.Nodes {
				break
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("node %d knows %d of %d nodes: %w", i, known, t.cfg.Nodes, ctx.Err())
			}
		}
	}
	return nil
}

// Node is node i, from 0.
func (t *Net) Node(i int) *node.Node {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[i].node
}

// Len is the number of nodes, dead ones included.
func (t *Net) Len() int { return t.cfg.Nodes }

// Index is which node has that ID, or -1.
func (t *Net) Index(id peer.ID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, m := range t.nodes {
		if m != nil && m.node.ID() == id {
			return i
		}
	}
	return -1
}

// Alive are the indexes of the nodes that have not been killed.
func (t *Net) Alive() []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []int
	for i, m := range t.nodes {
		if m != nil && !m.dead {
			out = append(out, i)
		}
	}
	return out
}

// Kill ends node i as a crash would: its connections close, nobody is told.
// Its folder stays as it is.
func (t *Net) Kill(i int) {
	t.mu.Lock()
	m := t.nodes[i]
	dead := m.dead
	m.dead = true
	t.mu.Unlock()
	if !dead {
		m.node.Kill()
		<-m.done
	}
}

// Close ends all nodes, waits for them, and removes a temporary folder. It may
// be called twice.
func (t *Net) Close() error {
	t.once.Do(func() {
		t.cancel()
		var wg sync.WaitGroup
		errs := make([]error, len(t.nodes))
		for i, m := range t.nodes {
			if m != nil { // all go at once: there is nobody to say goodbye to
				wg.Go(func() { m.node.Kill(); errs[i] = m.node.Close() })
			}
		}
		wg.Wait()
		errs = append(errs, t.guests.Close())
		if t.temp {
			errs = append(errs, os.RemoveAll(t.cfg.Dir))
		}
		t.err = errors.Join(errs...)
	})
	return t.err
}
