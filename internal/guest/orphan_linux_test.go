package guest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// poolVar makes the test binary own a pool in the folder that it names, run a
// program and wait to be killed.
const poolVar = "MESHNODE_TEST_POOL"

func servePoolIfAsked() {
	dir := os.Getenv(poolVar)
	if dir == "" {
		return
	}
	program := Program{Kind: protocol.Exec, Command: os.Getenv("TEST_COMMAND"), Module: os.Getenv("TEST_MODULE")}
	if program.Module != "" {
		program.Kind = protocol.Wasm
	}
	p := NewPool(Config{Size: 1, Dir: dir})
	_, err := p.Run(context.Background(), Run{Program: program, In: strings.NewReader("spin\n"), Out: os.Stdout})
	os.Stdout.WriteString("ended: " + err.Error() + "\n")
	os.Exit(1)
}

// TestKilledNodeLeavesNoProcess kills a process that owns a pool, in the
// middle of a program.
func TestKilledNodeLeavesNoProcess(t *testing.T) {
	for _, c := range []struct{ name, command, module string }{
		{name: "command", command: "setsid sleep 1000 & sleep 1000 & echo started; sleep 1000"},
		{name: "endless module", module: moduleFile(t, assemble(assembly{code: []byte{0x03, 0x40, 0x0c, 0, 0x0b}}))},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), poolVar+"="+dir, "TEST_COMMAND="+c.command, "TEST_MODULE="+c.module)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if c.module == "" {
				if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
					t.Fatalf("the command said %q, %v", line, err)
				}
			} else {
				eventually(t, "the guest spins", func() bool { return spinning(cmd.Process.Pid) })
			}
			_ = cmd.Process.Signal(syscall.SIGKILL)
			_ = cmd.Wait()
			eventually(t, "no process is left", func() bool { return len(withText(dir)) == 0 })
			// What a killed pool left on disk, the next one removes.
			p := newTestPool(t, Config{Dir: dir})
			wantKind(t, runShell(t, p, "true", ""), "")
			if entries, _ := os.ReadDir(dir + "/tasks"); len(entries) != 1 {
				t.Errorf("stale folders are left: %v", entries)
			}
		})
	}
}

// TestKilledChild kills a child under its command.
func TestKilledChild(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	started := writerFunc(func(b []byte) (int, error) {
		for _, proc := range descendants() {
			if proc.parent == os.Getpid() {
				_ = syscall.Kill(proc.pid, syscall.SIGKILL)
			}
		}
		return len(b), nil
	})
	for _, env := range [][]string{nil, {"HOME=/elsewhere"}} { // it is found by its home, or without
		_, err := p.Run(t.Context(), Run{Program: Program{Kind: protocol.Exec, Command: "setsid sleep 1000 & echo started; sleep 1000"}, Out: started, Env: env})
		wantKind(t, result{err: err}, protocol.FailHost)
		eventually(t, "nothing is left", func() bool { return len(processesOf(p.folders.own)) == 0 })
		wantEmpty(t, p)
	}
	wantKind(t, runShell(t, p, "true", ""), "")

	// One that was killed while idle is replaced without a word.
	p.mu.Lock()
	pid := p.idle[0].pid()
	p.mu.Unlock()
	_ = syscall.Kill(pid, syscall.SIGKILL)
	wantKind(t, runShell(t, p, "true", ""), "")
}

// TestChildrenHaveLowPriority: the node must answer on a busy machine.
func TestChildrenHaveLowPriority(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	r := runShell(t, p, `cut -d" " -f19 /proc/$PPID/task/*/stat /proc/$$/stat | sort -u`, "")
	wantKind(t, r, "")
	if own, _ := syscall.Getpriority(syscall.PRIO_PROCESS, 0); own == 20 && r.out != "10\n" {
		t.Errorf("the priorities of child and command are %q, want 10", r.out)
	}
}

// TestIdleChildEnds and is started again on demand.
func TestIdleChildEnds(t *testing.T) {
	p := newTestPool(t, Config{Size: 1, Idle: time.Millisecond})
	for range 3 {
		wantKind(t, runShell(t, p, "true", ""), "")
		eventually(t, "the child ends", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.live == 0
		})
	}
}

// withText lists the processes whose environment or arguments hold text.
func withText(text string) []int {
	var found []int
	for _, pid := range processes() {
		for _, name := range []string{"environ", "cmdline"} {
			b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + name)
			if strings.Contains(string(b), text) && pid != os.Getpid() {
				found = append(found, pid)
			}
		}
	}
	return found
}

// spinning reports whether a child of pid has used 300 ms of processor time:
// it is past its start then, in the guest's loop.
func spinning(pid int) bool {
	for _, p := range processes() {
		proc, ok := readProcess(p)
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/stat")
		if !ok || err != nil || proc.parent != pid {
			continue
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if ticks := fields[11]; len(ticks) >= 2 && ticks >= "30" {
			return true
		}
	}
	return false
}

// eventually polls until holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
