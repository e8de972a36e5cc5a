package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
)

const (
	startWithin = 60 * time.Second      // for a mesh to come up, on a busy machine
	askEvery    = 20 * time.Millisecond // between two questions to another process
)

// fleet is one mesh of processes on this machine.
type fleet struct {
	options
	dir     string
	network network
	members []*member
}

// member is one node's process.
type member struct {
	index  int
	home   string
	id     peer.ID
	cmd    *exec.Cmd
	exited chan struct{}
	client *local.Client
	hit    bool // by a fault that has not ended
	back   bool // started again after it was killed
}

// build builds the binary of this tree.
func build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "meshnode")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/meshnode/meshnode/cmd/meshnode")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building meshnode (run this inside its tree, or name a binary with --bin): %w\n%s", err, out)
	}
	return bin, nil
}

// startFleet starts the nodes and waits until each sees all of them alive. The
// caller ends the fleet, also after an error.
func startFleet(ctx context.Context, o options, dir string) (*fleet, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the mesh was not up within %s", startWithin))
	defer cancel()
	f := &fleet{options: o, dir: dir}
	var err error
	if f.network, err = newNetwork(o.net, o.nodes); err != nil {
		return f, err
	}
	for i := range o.nodes {
		token := ""
		if i > 0 {
			var err error
			if token, err = f.members[0].client.Invite(ctx, node.InviteOptions{}); err != nil {
				return f, fmt.Errorf("inviting node %d: %w", i, err)
			}
		}
		m := &member{index: i, home: filepath.Join(dir, "n"+strconv.Itoa(i))}
		if err := f.launch(m, token); err != nil {
			return f, err
		}
		f.members = append(f.members, m)
		if i == 0 {
			if err := m.connect(ctx); err != nil {
				return f, err
			}
		}
	}
	for _, m := range f.members[1:] {
		if err := m.connect(ctx); err != nil {
			return f, err
		}
	}
	return f, f.meet(ctx)
}

// launch starts the process of one node, with a token the first time.
func (f *fleet) launch(m *member, token string) error {
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return fmt.Errorf("making a node's folder: %w", err)
	}
	log, err := os.OpenFile(m.home+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("making a node's log: %w", err)
	}
	defer log.Close()
	args := []string{"--dir", m.home, "start", "--name", "n" + strconv.Itoa(m.index),
		"--allow-exec", "--slots", strconv.Itoa(f.slots), "--log-level", f.level}
	if addr := f.network.listen(); addr != "" {
		args = append(args, "--listen", addr)
	}
	if token != "" {
		args = append(args, "--join", token)
	}
	cmd, exited := f.network.command(m.index, f.bin, args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	// Ctrl-C reaches this program only, which then ends its nodes.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting node %d: %w", m.index, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended does not matter: it is killed
		close(exited)
	}()
	m.cmd, m.exited = cmd, exited
	return nil
}

// connect waits until the node answers.
func (m *member) connect(ctx context.Context) error {
	return poll(ctx, func() error { return m.reach(ctx) })
}

// reach finds out whether the node answers by now.
func (m *member) reach(ctx context.Context) error {
	select {
	case <-m.exited:
		return &endedError{fmt.Errorf("node %d ended by itself: %s; its log is %s.log", m.index, m.cmd.ProcessState, m.home)}
	default:
	}
	c, err := local.Dial(m.home)
	if err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	m.client, m.id = c, st.ID
	return nil
}

// meet waits until every node sees all of them alive.
func (f *fleet) meet(ctx context.Context) error {
	for _, m := range f.members {
		err := poll(ctx, func() error {
			st, err := m.client.Status(ctx)
			if err == nil && st.Peers != len(f.members)-1 {
				err = fmt.Errorf("node %d sees %d others", m.index, st.Peers)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// endedError ends a poll: asking again will not help.
type endedError struct{ error }

// poll asks until the answer is no error, or the context has ended.
func poll(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		var ended *endedError
		if err == nil || errors.As(err, &ended) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(askEvery):
		}
	}
}

// index finds a node by its peer ID, or returns -1.
func (f *fleet) index(id peer.ID) int {
	for i, m := range f.members {
		if m.id == id {
			return i
		}
	}
	return -1
}

// strike brings a fault on the nodes, all before it looks at any.
func (f *fleet) strike(victims []int, what fault) error {
	for _, i := range victims {
		f.members[i].hit = true
	}
	switch what {
	case killed:
		return f.signal(victims, syscall.SIGKILL)
	case stopped:
		return f.signal(victims, syscall.SIGSTOP)
	case cutOff:
		return f.network.cut(victims)
	case parted:
		return f.network.part(victims)
	case muted:
		return f.network.mute(victims)
	}
	return fmt.Errorf("no node can suffer fault %d", what)
}

// relieve ends a fault that can end.
func (f *fleet) relieve(victims []int, what fault) error {
	for _, i := range victims {
		f.members[i].hit = false
	}
	if what == stopped {
		return f.signal(victims, syscall.SIGCONT)
	}
	return f.network.heal(victims)
}

func (f *fleet) signal(victims []int, sig syscall.Signal) error {
	var err error
	for _, i := range victims {
		err = errors.Join(err, f.members[i].cmd.Process.Signal(sig))
	}
	if err != nil {
		return fmt.Errorf("sending %s: %w", sig, err)
	}
	return nil
}

// hit are the nodes under a fault, by index.
func (f *fleet) hit() []int {
	var list []int
	for _, m := range f.members {
		if m.hit {
			list = append(list, m.index)
		}
	}
	return list
}

// spared are the nodes that no fault has reached.
func (f *fleet) spared() []*member {
	var list []*member
	for _, m := range f.members {
		if !m.hit && !m.back {
			list = append(list, m)
		}
	}
	return list
}

// end kills what is left, stopped processes too, waits for it, and takes the
// network away.
func (f *fleet) end() error {
	for _, m := range f.members {
		_ = m.cmd.Process.Kill() // it may have ended
	}
	for _, m := range f.members {
		<-m.exited
		if m.client != nil {
			_ = m.client.Close()
		}
	}
	if f.network == nil {
		return nil
	}
	return f.network.remove()
}
