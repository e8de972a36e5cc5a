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

// mesh is a testnet and, where one is wanted, a node that stutters.
type mesh struct {
	net   *testnet.Net
	extra *node.Node
	dir   string
	ended chan error
}

// startMesh starts a mesh of a shape. The caller closes it.
func startMesh(ctx context.Context, s shape, pass spend) (*mesh, error) {
	m := &mesh{}
	nodes := s.nodes
	if s.stutter {
		nodes--
	}
	var err error
	if m.net, err = testnet.Start(ctx, testnet.Config{Nodes: nodes, Funcs: map[string]node.Func{workFunc: work(pass)}}); err != nil {
		return nil, err
	}
	if s.stutter {
		if err := m.add(ctx, stuttering(pass)); err != nil {
			return nil, errors.Join(err, m.close())
		}
	}
	return m, nil
}

// add lets one more node join, whose tasks spend their time otherwise.
func (m *mesh) add(ctx context.Context, pass spend) error {
	token, err := m.net.Node(0).Invite(node.InviteOptions{})
	if err != nil {
		return fmt.Errorf("inviting one more node: %w", err)
	}
	if m.dir, err = os.MkdirTemp("", "assign-node-"); err != nil {
		return fmt.Errorf("making a node's folder: %w", err)
	}
	n, err := node.New(node.Config{
		Dir: filepath.Join(m.dir, "node"), Name: "stutter", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token,
		Slots: 1, Funcs: map[string]node.Func{workFunc: work(pass)}, Testing: true,
	})
	if err != nil {
		return fmt.Errorf("starting one more node: %w", err)
	}
	m.extra, m.ended = n, make(chan error, 1)
	go func() { m.ended <- n.Run(context.WithoutCancel(ctx)) }() // ends with close
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
	for _, n := range m.nodes() {
		if n.Status().Peers < m.net.Len() {
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
	if m.extra != nil {
		list = append(list, m.extra)
	}
	return list
}

func (m *mesh) close() error {
	var err error
	if m.extra != nil {
		m.extra.Kill()
		err = <-m.ended
	}
	err = errors.Join(err, m.net.Close())
	if m.dir != "" {
		err = errors.Join(err, os.RemoveAll(m.dir))
	}
	return err
}
