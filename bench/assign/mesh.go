package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/testnet"
)

// meetWithin bounds how long a mesh may take to know its last member.
const meetWithin = time.Minute

// mesh is a testnet, and the nodes that are not like its own.
type mesh struct {
	net    *testnet.Net
	extras []*extra
	dir    string // of the extra nodes
}

// extra is a node that stutters, or has more slots.
type extra struct {
	node  *node.Node
	ended chan error
}

// startMesh starts a mesh of a shape. The caller closes it.
func startMesh(ctx context.Context, s shape, pass spend) (*mesh, error) {
	m := &mesh{}
	nodes := s.nodes - s.large
	if s.stutter {
		nodes--
	}
	var err error
	if m.net, err = testnet.Start(ctx, testnet.Config{Nodes: nodes, Funcs: map[string]node.Func{workFunc: work(pass)}}); err != nil {
		return nil, err
	}
	if m.dir, err = os.MkdirTemp("", "assign-nodes-"); err != nil {
		return nil, errors.Join(fmt.Errorf("making the nodes' folder: %w", err), m.close())
	}
	for i := range s.large {
		err = errors.Join(err, m.add(ctx, node.Config{Name: fmt.Sprintf("large-%d", i), Slots: largeSlots}, pass))
	}
	if s.stutter {
		err = errors.Join(err, m.add(ctx, node.Config{Name: "stutter", Slots: 1}, stuttering(pass)))
	}
	if err == nil {
		err = m.meet(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// add lets one more node join.
func (m *mesh) add(ctx context.Context, cfg node.Config, pass spend) error {
	token, err := m.net.Node(0).Invite(node.InviteOptions{})
	if err != nil {
		return fmt.Errorf("inviting node %s: %w", cfg.Name, err)
	}
	cfg.Dir, cfg.Join, cfg.Testing = filepath.Join(m.dir, cfg.Name), token, true
	cfg.Listen, cfg.Funcs = []string{"/ip4/127.0.0.1/tcp/0"}, map[string]node.Func{workFunc: work(pass)}
	n, err := node.New(cfg)
	if err != nil {
		return fmt.Errorf("starting node %s: %w", cfg.Name, err)
	}
	e := &extra{node: n, ended: make(chan error, 1)}
	m.extras = append(m.extras, e)
	go func() { e.ended <- n.Run(context.WithoutCancel(ctx)) }() // ends with close
	return nil
}

// meet waits until every node knows all others.
func (m *mesh) meet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, meetWithin)
	defer cancel()
	for m.strangers() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("not all nodes met within %s: %w", meetWithin, ctx.Err())
		}
	}
	return nil
}

// strangers reports whether some node does not know all others yet.
func (m *mesh) strangers() bool {
	all := m.nodes()
	for _, n := range all {
		if n.Status().Peers < len(all)-1 {
			return true
		}
	}
	return false
}

func (m *mesh) nodes() []*node.Node {
	var list []*node.Node
	for i := range m.net.Len() {
		list = append(list, m.net.Node(i))
	}
	for _, e := range m.extras {
		list = append(list, e.node)
	}
	return list
}

func (m *mesh) close() error {
	var errs []error
	for _, e := range m.extras {
		e.node.Kill()
		errs = append(errs, <-e.ended)
	}
	errs = append(errs, m.net.Close())
	if m.dir != "" {
		errs = append(errs, os.RemoveAll(m.dir))
	}
	return errors.Join(errs...)
}
