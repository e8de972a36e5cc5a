package main_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	// patience is how long anything that a test waits for may take on a busy
	// machine.
	patience = 60 * time.Second
	// longest bounds one command.
	longest = 3 * time.Minute
)

// machine runs nodes as processes of their own, each from a copy of the binary
// of its own, so that a node's processes can be told from all others.
type machine struct {
	t   *testing.T
	dir string
	bin string
}

// process is one node, and the command line that talks to it.
type process struct {
	t      *testing.T
	name   string
	bin    string
	home   string
	log    string
	peer   string // its ID, once asked for
	cmd    *exec.Cmd
	exited chan struct{}
}

// newMachine builds the binary, unless MESHNODE_BIN names one.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), bin: os.Getenv("MESHNODE_BIN")}
	if m.bin != "" {
		return m
	}
	m.bin = filepath.Join(m.dir, "meshnode")
	cmd := exec.Command("go", "build", "-o", m.bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the binary: %v\n%s", err, out)
	}
	return m
}

// start starts a node on loopback, in its folder of the last time if it had
// one, and waits until it answers.
func (m *machine) start(name string, args ...string) *process {
	t := m.t
	t.Helper()
	p := &process{t: t, name: name, home: filepath.Join(m.dir, name), bin: filepath.Join(m.dir, "meshnode-"+name), exited: make(chan struct{})}
	p.log = p.home + ".log"
	if err := os.MkdirAll(p.home, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.bin); errors.Is(err, os.ErrNotExist) {
		copyFile(t, m.bin, p.bin)
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	args = append([]string{"--dir", p.home, "start", "--name", name, "--listen", "/ip4/127.0.0.1/tcp/0", "--slots", "2"}, args...)
	p.cmd = exec.Command(p.bin, args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its status stands in ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.cleanUp)
	eventually(t, "node "+name+" answers", func() bool {
		select {
		case <-p.exited:
			t.Fatalf("node %s ended: %s", name, p.cmd.ProcessState)
		default:
		}
		_, _, status := p.run("status", "--json")
		return status == 0
	})
	return p
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// cleanUp ends what is left of the node and shows its log if the test failed.
func (p *process) cleanUp() {
	p.kill()
	if p.t.Failed() {
		log, err := os.ReadFile(p.log)
		p.t.Logf("log of node %s (%v):\n%s", p.name, err, log[max(0, len(log)-16<<10):])
	}
}

// kill is kill -9. It may be called twice.
func (p *process) kill() {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("killing node %s: %v", p.name, err)
	}
	<-p.exited
}

// interrupt is Ctrl-C: the node leaves, with status 0 and no process behind.
func (p *process) interrupt() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("interrupting node %s: %v", p.name, err)
	}
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("node %s does not end on Ctrl-C", p.name)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("node %s ends on Ctrl-C with %s", p.name, p.cmd.ProcessState)
	}
	if n := p.processes(); n != 0 {
		p.t.Errorf("node %s leaves %d processes behind", p.name, n)
	}
}

// run runs a command against the node.
func (p *process) run(args ...string) (stdout, stderr string, status int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), longest)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.bin, append([]string{"--dir", p.home}, args...)...)
	var out, errout bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		p.t.Fatalf("node %s: %v: %v (%v)\n%s", p.name, args, err, ctx.Err(), errout.String())
	}
	return out.String(), errout.String(), cmd.ProcessState.ExitCode()
}

// must runs a command that has to end with status 0, and returns what it
// printed.
func (p *process) must(args ...string) string {
	p.t.Helper()
	out, errout, status := p.run(args...)
	if status != 0 {
		p.t.Fatalf("node %s: %v ends with status %d:\n%s", p.name, args, status, errout)
	}
	return out
}

// invite returns a token for one more node.
func (p *process) invite() string {
	p.t.Helper()
	lines := strings.Fields(p.must("invite"))
	if len(lines) == 0 {
		p.t.Fatalf("node %s: invite prints nothing", p.name)
	}
	return lines[len(lines)-1]
}

// id is the node's peer ID.
func (p *process) id() string {
	p.t.Helper()
	if p.peer == "" {
		var s struct {
			ID string `json:"id"`
		}
		p.json(&s, "status")
		p.peer = s.ID
	}
	return p.peer
}

// meets waits until each of the nodes sees all of them alive, and nobody else.
func (m *machine) meets(nodes ...*process) {
	m.t.Helper()
	for _, p := range nodes {
		eventually(m.t, "node "+p.name+" sees them all alive", func() bool {
			var peers []struct {
				ID    string `json:"id"`
				State string `json:"state"`
			}
			p.json(&peers, "peer", "ls")
			alive := map[string]bool{}
			for _, peer := range peers {
				if peer.State == "alive" {
					alive[peer.ID] = true
				}
			}
			for _, q := range nodes {
				if !alive[q.id()] {
					return false
				}
			}
			return len(alive) == len(nodes)
		})
	}
}

// processes counts the node's processes, itself and its children: all those
// that run its copy of the binary. It is 0 where that cannot be known.
func (p *process) processes() int {
	exes, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, exe := range exes {
		if target, err := os.Readlink(exe); err == nil && target == p.bin {
			n++
		}
	}
	return n
}

func onLinux() bool { return runtime.GOOS == "linux" }

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !yes() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond) // between two questions to another process
	}
}
