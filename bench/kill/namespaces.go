package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// namespaces is a network of its own inside this machine: each node has a
// network namespace, joined by a pair of virtual cards to a bridge. A second
// bridge, which leads nowhere, takes the nodes that are to be apart. The
// machine itself has no address there, and no interface is touched but those
// that are made here, whose names begin with a random prefix.
type namespaces struct {
	prefix string
	nodes  int
}

// nowhere is a hardware address that no card has: what is sent to it is lost.
const nowhere = "02:00:00:00:00:01"

// card is the name of a node's card inside its namespace.
const card = "eth0"

// mayNamespace says why this process cannot make namespaces.
func mayNamespace() error {
	switch {
	case runtime.GOOS != "linux":
		return fmt.Errorf("--net %s needs Linux, not %s; leave it out to stay on loopback", inNamespaces, runtime.GOOS)
	case os.Geteuid() != 0:
		return fmt.Errorf("--net %s needs root: build with go build ./bench/kill, then run it with sudo, or leave the flag out to stay on loopback", inNamespaces)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("--net %s needs the program ip; install iproute2: %w", inNamespaces, err)
	}
	// A container's root may lack the right, and a kernel the virtual cards.
	n := &namespaces{prefix: newPrefix(), nodes: 1}
	if err := errors.Join(n.make(), n.remove()); err != nil {
		return fmt.Errorf("--net %s cannot be had here, leave it out to stay on loopback: %w", inNamespaces, err)
	}
	return nil
}

// newPrefix draws the beginning of a network's names, which leaves room for the
// rest: the kernel takes 15 letters.
func newPrefix() string {
	var id [3]byte
	_, _ = rand.Read(id[:]) // never fails
	return "mk" + hex.EncodeToString(id[:])
}

func (n *namespaces) make() error {
	for _, bridge := range []string{n.bridge(), n.island()} {
		if err := ip("link", "add", bridge, "type", "bridge"); err != nil {
			return err
		}
		if err := ip("link", "set", bridge, "up"); err != nil {
			return err
		}
	}
	return each(upTo(n.nodes), n.addNode)
}

func (n *namespaces) bridge() string       { return n.prefix + "a" }
func (n *namespaces) island() string       { return n.prefix + "b" }
func (n *namespaces) space(i int) string   { return n.prefix + "-" + strconv.Itoa(i) }
func (n *namespaces) outside(i int) string { return n.prefix + "v" + strconv.Itoa(i) }
func (n *namespaces) address(i int) string { return "10.213.77." + strconv.Itoa(i+1) }
func (n *namespaces) listen() string       { return "" }

func upTo(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// addNode makes the namespace of a node and joins it to the bridge.
func (n *namespaces) addNode(i int) error {
	space := n.space(i)
	for _, args := range [][]string{
		{"netns", "add", space},
		{"link", "add", n.outside(i), "type", "veth", "peer", "name", card, "netns", space},
		{"-n", space, "address", "add", n.address(i) + "/24", "dev", card},
		{"-n", space, "link", "set", "lo", "up"},
		{"-n", space, "link", "set", card, "up"},
		{"link", "set", n.outside(i), "master", n.bridge(), "up"},
	} {
		if err := ip(args...); err != nil {
			return err
		}
	}
	return nil
}

func (n *namespaces) command(i int, program string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.space(i), program}, args...)...)
}

// cut takes the links of nodes down, as if their cables were pulled.
func (n *namespaces) cut(nodes []int) error {
	return each(nodes, func(i int) error { return ip("link", "set", n.outside(i), "down") })
}

// part plugs nodes into the bridge that leads nowhere.
func (n *namespaces) part(nodes []int) error {
	return each(nodes, func(i int) error { return ip("link", "set", n.outside(i), "master", n.island()) })
}

// mute makes nodes send to a hardware address that nobody has.
func (n *namespaces) mute(nodes []int) error {
	return each(nodes, func(i int) error {
		return each(upTo(n.nodes), func(other int) error {
			if other == i {
				return nil
			}
			return ip("-n", n.space(i), "neighbour", "replace", n.address(other), "lladdr", nowhere, "dev", card, "nud", "permanent")
		})
	})
}

func (n *namespaces) heal(nodes []int) error {
	return each(nodes, func(i int) error {
		return errors.Join(
			ip("-n", n.space(i), "neighbour", "flush", "nud", "permanent", "dev", card),
			ip("link", "set", n.outside(i), "master", n.bridge(), "up"))
	})
}

// remove deletes what there is of the network, and reports what it could not.
func (n *namespaces) remove() error {
	left, err := ipOut("-o", "link", "show")
	if err != nil {
		return err
	}
	spaces, err := ipOut("netns", "list")
	if err != nil {
		return err
	}
	err = each(upTo(n.nodes), func(i int) error {
		var err error
		if bytes.Contains(left, []byte(" "+n.outside(i)+"@")) { // goes with its other end
			err = ip("link", "delete", n.outside(i))
		}
		if hasLine(spaces, n.space(i)) {
			err = errors.Join(err, ip("netns", "delete", n.space(i)))
		}
		return err
	})
	for _, bridge := range []string{n.bridge(), n.island()} {
		if bytes.Contains(left, []byte(" "+bridge+":")) {
			err = errors.Join(err, ip("link", "delete", bridge))
		}
	}
	if err != nil {
		return fmt.Errorf("removing the network (whatever is left is named %s*): %w", n.prefix, err)
	}
	return nil
}

// hasLine reports whether a line's first word is that.
func hasLine(text []byte, word string) bool {
	for line := range strings.Lines(string(text)) {
		if first, _, _ := strings.Cut(strings.TrimSpace(line), " "); first == word {
			return true
		}
	}
	return false
}

// each does something to all nodes, also when it fails with some.
func each(nodes []int, do func(i int) error) error {
	var errs []error
	for _, i := range nodes {
		errs = append(errs, do(i))
	}
	return errors.Join(errs...)
}

func ip(args ...string) error {
	_, err := ipOut(args...)
	return err
}

// ipOut runs the program ip, out of reach of Ctrl-C: what is begun is undone.
func ipOut(args ...string) ([]byte, error) {
	cmd := exec.Command("ip", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
