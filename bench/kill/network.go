package main

import (
	"errors"
	"os/exec"
)

// network is where the processes of one mesh live. Nodes go by their index.
type network interface {
	// command is what starts a program as node i.
	command(i int, program string, args ...string) *exec.Cmd
	// listen is where nodes listen; "" leaves it to them.
	listen() string
	// cut takes nodes off the network, each by itself.
	cut(nodes []int) error
	// part separates nodes from all others, and leaves them together.
	part(nodes []int) error
	// mute loses what nodes send; what is sent to them arrives.
	mute(nodes []int) error
	// heal undoes what was done to the nodes.
	heal(nodes []int) error
	// remove takes away all that was made. It works on a half-made network.
	remove() error
}

// Networks that --net names.
const (
	onLoopback   = "loopback"
	inNamespaces = "namespaces"
)

// newNetwork makes the network of one trial. The caller removes it, also after
// an error.
func newNetwork(kind string, nodes int) (network, error) {
	if kind != inNamespaces {
		return loopback{}, nil
	}
	n := &namespaces{prefix: newPrefix(), nodes: nodes}
	return n, n.make()
}

// loopback is this machine as it is: nothing there can be cut.
type loopback struct{}

var errUncut = errors.New("connections on loopback cannot be cut; use --net namespaces")

func (loopback) command(_ int, program string, args ...string) *exec.Cmd {
	return exec.Command(program, args...)
}
func (loopback) listen() string   { return "/ip4/127.0.0.1/tcp/0" }
func (loopback) cut([]int) error  { return errUncut }
func (loopback) part([]int) error { return errUncut }
func (loopback) mute([]int) error { return errUncut }
func (loopback) heal([]int) error { return nil }
func (loopback) remove() error    { return nil }
