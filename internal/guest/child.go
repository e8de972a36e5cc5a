package guest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// childVar is the environment variable that makes our binary serve as a
// child; its value is the folder of compiled modules.
const childVar = "MESHNODE_GUEST_CHILD"

const (
	// helloTimeout bounds the start of a child. Tens of milliseconds are
	// usual; a machine that swaps needs longer.
	helloTimeout = 30 * time.Second
	// endGrace is how long a child may take to end its task's processes and
	// itself before it is killed.
	endGrace = 5 * time.Second
	// maxModules is how many compiled modules a child keeps.
	maxModules = 8
)

var errNoChild = errors.New("did not answer as a guest process: its main must call guest.ServeIfChild first")

// child is the parent's side of one child process. It is owned by one task at
// a time, or by the pool's idle list.
type child struct {
	*conn
	cmd    *exec.Cmd
	in     *os.File // the child's input: our end
	out    *os.File
	stderr *headTail // of the process itself; read it only after done
	dirs   *folders
	done   chan struct{} // closed once the process is reaped
	closed sync.Once

	modules []string    // that it holds compiled, the last used last
	timer   *time.Timer // of the pool, while idle
}

// starter starts processes from one thread that lives as long as the pool: a
// parent-death signal is sent when the parent's *thread* ends.
type starter struct {
	once   sync.Once
	jobs   chan func()
	ended  chan struct{}
	closed atomic.Bool
}

func newStarter() *starter {
	return &starter{jobs: make(chan func()), ended: make(chan struct{})}
}

func (s *starter) start(cmd *exec.Cmd) error {
	s.once.Do(func() {
		go func() {
			defer close(s.ended)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for job := range s.jobs {
				job()
			}
		}()
	})
	result := make(chan error, 1)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

// close is called when no start is under way and none will come.
func (s *starter) close() {
	s.once.Do(func() { close(s.ended) })
	if s.closed.CompareAndSwap(false, true) {
		close(s.jobs)
	}
	<-s.ended
}

func startChild(cfg Config, s *starter, dirs *folders) (*child, error) {
	if os.Getenv(childVar) != "" {
		return nil, fmt.Errorf("this process was itself started as a guest process and %w", errNoChild)
	}
	exe, name := cfg.Executable, cfg.Executable
	if exe == "" {
		var err error
		if exe, err = ownBinary(); err != nil {
			return nil, fmt.Errorf("finding our own binary: %w", err)
		}
		name = os.Args[0]
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		closeAll([]*os.File{theirIn, in})
		return nil, err
	}
	growPipe(in)
	growPipe(out)
	c := &child{conn: newConn(out, in), in: in, out: out, dirs: dirs,
		stderr: newHeadTail(16 << 10), done: make(chan struct{})}
	c.cmd = exec.Command(exe)
	c.cmd.Args = []string{name, "guest-process"} // what ps shows
	c.cmd.Env = childEnv(dirs.cache)
	c.cmd.Stderr = c.stderr
	c.cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	c.cmd.WaitDelay = endGrace
	c.cmd.SysProcAttr = ownGroup()
	err = s.start(c.cmd)
	// Not later: the end of a pipe shows only when nobody else can write to it.
	closeAll([]*os.File{theirIn, theirOut})
	if err != nil {
		closeAll([]*os.File{in, out})
		return nil, err
	}
	go func() {
		_ = c.cmd.Wait() // how it ended is in ProcessState
		close(c.done)
	}()
	if err := c.hello(); err != nil {
		c.kill()
		c.end()
		return nil, fmt.Errorf("%s %w", name, err)
	}
	return c, nil
}

// childEnv is what a child needs of our environment; a task gets still less.
func childEnv(cache string) []string {
	env := []string{childVar + "=" + cache}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH", "TMPDIR", "GODEBUG", "GOTRACEBACK", "GORACE", "GOCOVERDIR":
			env = append(env, kv)
		}
	}
	return env
}

// hello waits for the child's first frame. A program that is not ours might
// even hand our pipe to others, so its end alone is not to be relied on.
func (c *child) hello() error {
	if err := c.out.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	t, version, err := c.receive(nil)
	if err != nil || t != frameHello {
		return errNoChild
	}
	if string(version) != helloVersion {
		return fmt.Errorf("speaks %q to guest processes and we speak %q: use a binary of the same version", version, helloVersion)
	}
	return c.out.SetReadDeadline(time.Time{})
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) alive() bool {
	select {
	case <-c.done:
		return false
	default:
		return true
	}
}

// kill ends the process at once. What it had started is ended by end.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end lets the child end by itself, which ends its task and all processes of
// it, kills it when it does not, and waits. It may be called twice.
func (c *child) end() {
	c.closed.Do(func() { c.in.Close() })
	timer := time.AfterFunc(endGrace, c.kill)
	<-c.done
	timer.Stop()
	c.out.Close()
}

// holds reports whether the child has module compiled.
func (c *child) holds(module string) bool {
	return module != "" && slices.Contains(c.modules, module)
}

// used notes that the child has just loaded or used module.
func (c *child) used(module string) {
	if i := slices.Index(c.modules, module); i >= 0 {
		c.modules = slices.Delete(c.modules, i, i+1)
	} else if len(c.modules) >= maxModules {
		c.modules = slices.Delete(c.modules, 0, 1)
	}
	c.modules = append(c.modules, module)
}

// epitaph says how the process ended, after it has.
func (c *child) epitaph() string {
	<-c.done
	how := "unknown"
	if c.cmd.ProcessState != nil {
		how = c.cmd.ProcessState.String()
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(c.stderr.Bytes())), "\n")
	if first == "" {
		return how
	}
	return how + ": " + first[:min(len(first), 300)]
}
