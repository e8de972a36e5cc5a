package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

func TestCommand(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	big := strings.Repeat("0123456789abcde\n", 1<<18)
	for _, c := range []struct {
		name, command, in, out string
		limits                 Limits
		env                    []string
		kind                   protocol.FailKind
		code                   int
		log                    string
	}{
		{name: "nothing", command: "true"},
		{name: "copies", command: "cat", in: big, out: big},
		{name: "a pipe", command: "sort | uniq -c | sed 's/ *//'", in: "b\na\nb\n", out: "1 a\n2 b\n"},
		{name: "exit status", command: "echo why >&2; exit 7", kind: protocol.FailExit, code: 7, log: "why\n"},
		{name: "not found", command: "no-such-command-here", kind: protocol.FailExit, code: 127, log: "not found"},
		{name: "a signal", command: "kill -SEGV $$", kind: protocol.FailTrap},
		{name: "does not read", command: "echo done", in: big, out: "done\n"},
		{name: "reads a little", command: "head -c 3", in: big, out: "012"},
		{name: "closes its input", command: "exec <&-; echo done", in: big, out: "done\n"},
		{name: "never ends", command: "sleep 1000 & sleep 1000", limits: Limits{Timeout: time.Second}, kind: protocol.FailTime},
		{name: "ignores signals", command: "trap '' TERM INT HUP; while :; do :; done", limits: Limits{Timeout: time.Second}, kind: protocol.FailTime},
		{name: "prints without end", command: "yes", limits: Limits{Output: 1 << 20}, kind: protocol.FailOutput},
		{name: "environment", command: "env | sed 's/=.*//' | grep -v -e '^PWD$' -e '^SHLVL$' -e '^_$' -e OLDPWD | LC_ALL=C sort", out: "HOME\nLANG\nPATH\n"},
		{name: "more environment", command: `echo "$A,$B,$LANG,$MESHNODE_TASK"; [ -n "$PATH" ]`, env: []string{"A=1 2", "B=x=y", "LANG=C", "MESHNODE_TASK=0/3"}, out: "1 2,x=y,C,0/3\n"},
		{name: "another home", command: `setsid sleep 1000 & echo $HOME`, env: []string{"HOME=/none"}, out: "/none\n"},
		{name: "home is the folder", command: `[ "$HOME" = "$PWD" ] && ls -A && stat -c %a .`, out: "700\n"},
		{name: "no descriptor leaks", command: "exec ls /proc/self/fd", out: "0\n1\n2\n3\n"},
		{name: "leaves a process", command: "sleep 1000 & echo started", out: "started\n"},
		{name: "leaves a session", command: "setsid sh -c 'sleep 1000 & sleep 1000' & echo started", out: "started\n"},
		{name: "takes its own rights", command: "mkdir -p a/b; touch a/b/c; chmod 0 a/b a"},
		{name: "after all that", command: "cat", in: "abc", out: "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runWith(t, p, Run{Program: Program{Kind: protocol.Exec, Command: c.command}, Limits: c.limits, Env: c.env}, c.in)
			wantKind(t, r, c.kind)
			if c.kind == "" && r.out != c.out {
				t.Errorf("printed %.100q (%d bytes), want %.100q", r.out, len(r.out), c.out)
			}
			if c.kind == protocol.FailExit && r.err.(*Error).Code != c.code {
				t.Errorf("exit status %d, want %d", r.err.(*Error).Code, c.code)
			}
			if !strings.Contains(string(r.Log), c.log) {
				t.Errorf("log %q, want %q in it", r.Log, c.log)
			}
		})
	}
	wantEmpty(t, p)
	if p.live != 1 {
		t.Errorf("%d children live, want the one that served all of it", p.live)
	}
}

// wantEmpty checks that no task left its folder or a process.
func wantEmpty(t *testing.T, p *Pool) {
	t.Helper()
	entries, err := os.ReadDir(p.folders.own)
	if err != nil || len(entries) != 1 {
		t.Errorf("left in the pool's folder: %v, %v", entries, err)
	}
	if left := processesOf(p.folders.own); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

// processesOf lists the processes whose environment names dir.
func processesOf(dir string) []string {
	var found []string
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err == nil && bytes.Contains(env, []byte("="+dir)) {
			found = append(found, path)
		}
	}
	return found
}

func TestCommandMemory(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	// A shell variable that doubles: 16 MiB after 24 rounds, and so on; two
	// processes, each below the limit for longer than both together.
	double := "x=0123456789abcdef; while :; do x=$x$x; done"
	r := runWith(t, p, Run{Program: Program{Kind: protocol.Exec, Command: "(" + double + ") & " + double},
		Limits: Limits{Memory: 100 << 20, Timeout: time.Minute}}, "")
	wantKind(t, r, protocol.FailMemory)
	if r.PeakMemory <= 100<<20 {
		t.Errorf("the peak of %d bytes is within the limit", r.PeakMemory)
	}
	wantEmpty(t, p)
}

func TestCommandFiles(t *testing.T) {
	stored := filepath.Join(t.TempDir(), "stored")
	if err := os.WriteFile(stored, []byte("#!/bin/sh\necho ran \"$@\"\n"), 0o400); err != nil {
		t.Fatal(err)
	}
	p := newTestPool(t, Config{Size: 1})
	program := Program{Kind: protocol.Exec, Command: "./tool.sh a; cat data.txt | wc -l; echo changed > data.txt; echo changed > tool.sh",
		Files: []File{{Name: "tool.sh", Path: stored, Exec: true}, {Name: "data.txt", Path: stored}}}
	r := runWith(t, p, Run{Program: program}, "")
	wantKind(t, r, "")
	if r.out != "ran a\n2\n" {
		t.Errorf("printed %q", r.out)
	}
	if b, _ := os.ReadFile(stored); !strings.HasPrefix(string(b), "#!/bin/sh") {
		t.Errorf("the program changed the stored file: %q", b)
	}
	program.Files = []File{{Name: "../evil", Path: stored}}
	wantKind(t, runWith(t, p, Run{Program: program}, ""), protocol.FailHost)
	program.Files = []File{{Name: "gone", Path: stored + "x"}}
	wantKind(t, runWith(t, p, Run{Program: program}, ""), protocol.FailHost)
}

func TestCallersErrors(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	broken := errors.New("broken")
	program := Program{Kind: protocol.Exec, Command: "cat; sleep 1000"}
	if _, err := p.Run(t.Context(), Run{Program: program, In: failing{broken}}); !errors.Is(err, broken) {
		t.Errorf("input fails: got %v", err)
	}
	program.Command = "echo x; sleep 1000"
	if _, err := p.Run(t.Context(), Run{Program: program, Out: failing{broken}}); !errors.Is(err, broken) {
		t.Errorf("output fails: got %v", err)
	}
	program.Command = "cat"
	r := runWith(t, p, Run{Program: program}, "fine")
	wantKind(t, r, "")
	if r.out != "fine" {
		t.Errorf("printed %q", r.out)
	}
}

// TestInputIsNotReadAhead: a program that does not read must not drain its input.
func TestInputIsNotReadAhead(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	in := &endless{}
	if _, err := p.Run(t.Context(), Run{Program: Program{Kind: protocol.Exec, Command: "head -c 10 >/dev/null"}, In: in}); err != nil {
		t.Fatal(err)
	}
	if most := int64(2*window*chunkSize + pipeSize); in.taken > most {
		t.Errorf("%d bytes were read for a program that wanted 10, want at most %d", in.taken, most)
	}
}

func TestCancelKillsCommand(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	_, err := p.Run(ctx, Run{Program: Program{Kind: protocol.Exec, Command: "echo started; setsid sleep 1000 & sleep 1000"}, Out: started})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want that it was cancelled", err)
	}
	wantEmpty(t, p)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCloseEndsRuns closes a pool under a run, and under one that waits.
func TestCloseEndsRuns(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	started := make(chan struct{})
	results := make(chan error, 2)
	sleep := Program{Kind: protocol.Exec, Command: "echo; sleep 1000"}
	go func() {
		_, err := p.Run(t.Context(), Run{Program: sleep, Out: writerFunc(func(b []byte) (int, error) { close(started); return len(b), nil })})
		results <- err
	}()
	<-started
	go func() {
		_, err := p.Run(t.Context(), Run{Program: sleep})
		results <- err
	}()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("a run ended with %v, want that the pool was closed", err)
		}
	}
	if _, err := p.Run(t.Context(), Run{Program: sleep}); !errors.Is(err, ErrClosed) {
		t.Errorf("a run after Close ended with %v", err)
	}
}

// TestManyAtOnce runs more programs than there are children.
func TestManyAtOnce(t *testing.T) {
	p := newTestPool(t, Config{Size: 2})
	var most, now atomic.Int64
	done := make(chan error)
	const runs = 40
	for i := range runs {
		go func() {
			var out bytes.Buffer
			in := io.MultiReader(readerFunc(func([]byte) (int, error) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				return 0, io.EOF
			}), strings.NewReader(fmt.Sprint(i)))
			_, err := p.Run(t.Context(), Run{Program: Program{Kind: protocol.Exec, Command: "cat"}, In: in, Out: &out})
			now.Add(-1)
			if err == nil && out.String() != fmt.Sprint(i) {
				err = fmt.Errorf("run %d printed %q", i, out.String())
			}
			done <- err
		}()
	}
	for range runs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most.Load() > runs || p.live > 2 {
		t.Errorf("%d children, want at most 2", p.live)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestWaitingRunGivesUp cancels a run that waits for a child.
func TestWaitingRunGivesUp(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	holdIn, release := io.Pipe()
	first := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		_, err := p.Run(t.Context(), Run{Program: Program{Kind: protocol.Exec, Command: "echo; cat"}, In: holdIn,
			Out: writerFunc(func(b []byte) (int, error) { close(started); return len(b), nil })})
		first <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Run(ctx, Run{Program: Program{Kind: protocol.Exec, Command: "true"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the waiting run ended with %v", err)
	}
	release.Close()
	if err := <-first; err != nil {
		t.Errorf("the running one ended with %v", err)
	}
	wantKind(t, runShell(t, p, "true", ""), "")
}
