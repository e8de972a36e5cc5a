package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

func TestGoGuest(t *testing.T) {
	p := newGoPool(t, 1)
	program := Program{Kind: protocol.Wasm, Module: goProgram(t)}
	big := strings.Repeat("0123456789abcde\n", 1<<18) // 4 MiB
	for _, c := range []struct {
		name, in, out string
		limits        Limits
		kind          protocol.FailKind
		code          int
		log           string
	}{
		{name: "empty input", in: "", out: ""},
		{name: "copies", in: "cat\n" + big, out: big},
		{name: "exit status", in: "exit 3\n", kind: protocol.FailExit, code: 3, log: "leaving with 3\n"},
		{name: "panic", in: "panic ouch\n", kind: protocol.FailExit, code: 2, log: "panic: ouch"},
		{name: "takes all memory", in: "allocate\n", limits: Limits{Memory: 64 << 20}, kind: protocol.FailMemory},
		{name: "too little memory to begin", in: "cat\n", limits: Limits{Memory: 64 << 10}, kind: protocol.FailMemory},
		{name: "never ends", in: "spin\n", limits: Limits{Timeout: time.Second}, kind: protocol.FailTime, log: "spinning"},
		{name: "prints without end", in: "print\n", limits: Limits{Output: 1 << 20}, kind: protocol.FailOutput},
		{name: "does not read all", in: "exit 0\n" + big, log: "leaving with 0\n"},
		{name: "after all that", in: "cat\nabc", out: "abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runWith(t, p, Run{Program: program, Limits: c.limits}, c.in)
			wantKind(t, r, c.kind)
			if c.kind == "" && r.out != c.out {
				t.Errorf("printed %d bytes, want %d", len(r.out), len(c.out))
			}
			if c.kind == protocol.FailExit && r.err.(*Error).Code != c.code {
				t.Errorf("exit status %d, want %d", r.err.(*Error).Code, c.code)
			}
			if !strings.Contains(string(r.Log), c.log) {
				t.Errorf("log %q, want %q in it", r.Log, c.log)
			}
			if c.kind == protocol.FailOutput && len(r.out) != 1<<20 {
				t.Errorf("passed on %d bytes, want all of the limit", len(r.out))
			}
			if limit := c.limits.Memory; limit > 0 && r.PeakMemory > limit {
				t.Errorf("a peak of %d bytes with a limit of %d", r.PeakMemory, limit)
			}
		})
	}
}

func TestGoGuestIsDeterministic(t *testing.T) {
	p := newGoPool(t, 2)
	program := Program{Kind: protocol.Wasm, Module: goProgram(t)}
	runSeed := func(seed byte) string {
		r := runWith(t, p, Run{Program: program, Seed: [32]byte{seed}}, "random\n")
		wantKind(t, r, "")
		return r.out
	}
	first := runSeed(1)
	if again := runSeed(1); again != first {
		t.Errorf("equal seeds gave %q and %q", first, again)
	}
	if other := runSeed(2); other == first {
		t.Errorf("different seeds gave the same %q", other)
	}
	if strings.Contains(first, "PATH") {
		t.Errorf("the environment shows: %q", first)
	}
}

func TestGoGuestSeesItsEnvironment(t *testing.T) {
	p := newGoPool(t, 1)
	env := []string{"A=1 2", "B=x=y", "C="}
	r := runWith(t, p, Run{Program: Program{Kind: protocol.Wasm, Module: goProgram(t)}, Env: env}, "random\n")
	wantKind(t, r, "")
	if !strings.HasSuffix(r.out, "[A=1 2 B=x=y C=]\n") {
		t.Errorf("the environment is not %q: %q", env, r.out)
	}
}

func TestGoGuestSeesItsFilesOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "stored-under-another-name")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := newGoPool(t, 1)
	program := Program{Kind: protocol.Wasm, Module: goProgram(t),
		Files: []File{{Name: "b.txt", Path: path}, {Name: "a.sh", Path: path, Exec: true}}}
	for _, c := range []struct{ in, want string }{
		{"file b.txt", "content <nil>"},
		{"file /b.txt", "content <nil>"},
		{"file missing", "No such file"},
		{"file ../../../../../etc/passwd", "No such file"},
		{"file /etc/passwd", "No such file"},
		{"file " + path, "No such file"},
		{"list", "a.sh 7\nb.txt 7\n<nil>"},
	} {
		r := runWith(t, p, Run{Program: program}, c.in+"\n")
		wantKind(t, r, "")
		if !strings.Contains(r.out, c.want) || strings.Contains(r.out, "root:") {
			t.Errorf("%s: got %q, want %q", c.in, r.out, c.want)
		}
	}
}

func TestLogKeepsBothEnds(t *testing.T) {
	p := newGoPool(t, 1)
	r := runWith(t, p, Run{Program: Program{Kind: protocol.Wasm, Module: goProgram(t)}, Limits: Limits{Log: 1000}}, "log\n")
	wantKind(t, r, "")
	log := string(r.Log)
	if !strings.HasPrefix(log, "line 0\n") || !strings.HasSuffix(log, "line 99999\n") || !strings.Contains(log, "bytes left out") || len(log) > 1100 {
		t.Errorf("kept %d bytes: %q", len(log), log)
	}
}

func TestCancelKillsGuest(t *testing.T) {
	p := newGoPool(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	in := &onRead{Reader: strings.NewReader("spin\n"), at: 2, do: cancel}
	_, err := p.Run(ctx, Run{Program: Program{Kind: protocol.Wasm, Module: goProgram(t)}, In: in})
	if err != context.Canceled {
		t.Fatalf("got %v, want that it was cancelled", err)
	}
	wantKind(t, runWith(t, p, Run{Program: Program{Kind: protocol.Wasm, Module: goProgram(t)}}, "cat\n"), "")
}

// onRead calls do at the at-th Read.
type onRead struct {
	*strings.Reader
	at int
	do func()
}

func (o *onRead) Read(p []byte) (int, error) {
	if o.at--; o.at == 0 {
		o.do()
	}
	return o.Reader.Read(p)
}

func TestHandWrittenModules(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	for _, c := range []struct {
		name   string
		module []byte
		kind   protocol.FailKind
	}{
		{"returns", assemble(assembly{}), ""},
		{"traps", assemble(assembly{code: []byte{opUnreachable}}), protocol.FailTrap},
		{"grows for ever, then traps", assemble(assembly{code: growForEver}), protocol.FailMemory},
		{"calls itself for ever", assemble(assembly{code: []byte{opCall, 0}}), protocol.FailTrap},
		{"needs too much from the start", assemble(assembly{pages: 4096}), protocol.FailMemory},
		{"imports something else", assemble(assembly{imports: "env"}), protocol.FailLoad},
		{"exports no _start", assemble(assembly{export: "main"}), protocol.FailLoad},
		{"is cut", assemble(assembly{})[:30], protocol.FailLoad},
		{"is text", []byte("hello"), protocol.FailLoad},
		{"returns again", assemble(assembly{}), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := Run{Program: Program{Kind: protocol.Wasm, Module: moduleFile(t, c.module)}, Limits: Limits{Memory: 64 << 20}}
			wantKind(t, runWith(t, p, run, ""), c.kind)
		})
	}
}

func TestMissingModuleIsTheHostsFault(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	run := Run{Program: Program{Kind: protocol.Wasm, Module: filepath.Join(t.TempDir(), "none.wasm")}}
	wantKind(t, runWith(t, p, run, ""), protocol.FailHost)
}

// TestManyModules runs more modules than a child keeps.
func TestManyModules(t *testing.T) {
	p := newTestPool(t, Config{Size: 1})
	var paths []string
	for i := range maxModules + 3 {
		paths = append(paths, moduleFile(t, assemble(assembly{pages: i + 1})))
	}
	for range 3 {
		for i, path := range paths {
			r := runWith(t, p, Run{Program: Program{Kind: protocol.Wasm, Module: path}}, "")
			wantKind(t, r, "")
			if want := int64(i+1) << 16; r.PeakMemory != want {
				t.Fatalf("module %d had %d bytes of memory, want %d", i, r.PeakMemory, want)
			}
		}
	}
}
