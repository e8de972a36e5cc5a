package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

// TestCommands runs real commands in real children.
func TestCommands(t *testing.T) {
	pool := guest.NewPool(guest.Config{Size: 1, Dir: t.TempDir()})
	t.Cleanup(func() { _ = pool.Close() })
	b, dir := newBlocks(), t.TempDir()
	r := NewRunner(Config{Store: b, Inputs: b, Guests: pool, Dir: dir})
	command := func(c string) *protocol.Program { return &protocol.Program{Kind: protocol.Exec, Command: c} }

	script := protocol.File{Name: "words.sh", CID: b.add(t, "#!/bin/sh\ntr ' ' '\\n'\n"), Exec: true}
	words := command("./words.sh")
	words.Files = []protocol.File{script}
	m := b.job(t, []string{"b a b\n", "c b\n"}, 6,
		protocol.Stage{Kind: protocol.MapStage, Program: words, Partitions: 1},
		protocol.Stage{Kind: protocol.ReduceStage, Tasks: 1, Program: command("uniq -c | awk '{print $2, $1}'")},
		protocol.Stage{Kind: protocol.ConcatStage, Tasks: 1})
	out := runAll(t, r, m)
	if got := b.read(t, out.Result); got != "a 1\nb 3\nc 1\n" {
		t.Errorf("counted %q", got)
	}

	large := strings.Repeat("a line of text\n", 200_000)
	m = b.job(t, []string{large}, 10<<20,
		protocol.Stage{Kind: protocol.MapStage, Program: command("cat")},
		protocol.Stage{Kind: protocol.ConcatStage, Tasks: 1})
	if got := b.read(t, runAll(t, r, m).Result); got != large {
		t.Errorf("cat gave %d bytes of %d", len(got), len(large))
	}

	m.Stages[0].Program = command("head -n 1 >/dev/null; echo sorry >&2; exit 3")
	failed := runErr(t, r, Work{Manifest: m}, protocol.FailExit)
	if failed.Code != 3 || !strings.HasPrefix(failed.Text, "map task 0/0: ") || string(failed.Log) != "sorry\n" {
		t.Errorf("got %+v", failed)
	}
	noScratch(t, dir)
}

// TestModule hands a module and the program's files to the guests as local
// files.
func TestModule(t *testing.T) {
	b := newBlocks()
	guests := &fakeGuests{}
	r := NewRunner(Config{Store: b, Inputs: b, Guests: guests, Dir: t.TempDir()})
	m := b.job(t, []string{"a\n"}, 100, protocol.Stage{Kind: protocol.MapStage, Program: &protocol.Program{
		Kind: protocol.Wasm, Module: b.add(t, "a module"),
		Files: []protocol.File{{Name: "data", CID: b.add(t, "some data"), Exec: true}},
	}})
	if _, err := r.Run(t.Context(), Work{Manifest: m}); err != nil {
		t.Fatal(err)
	}
	got := guests.runs[0].Program
	module, err := os.ReadFile(got.Module)
	if err != nil || string(module) != "a module" || filepath.Ext(got.Module) != ".wasm" {
		t.Errorf("the module %s holds %q, %v", got.Module, module, err)
	}
	if len(got.Files) != 1 || got.Files[0].Name != "data" || !got.Files[0].Exec {
		t.Fatalf("the files are %v", got.Files)
	}
	if data, err := os.ReadFile(got.Files[0].Path); err != nil || string(data) != "some data" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

// TestSeeds: equal work gets equal seeds in any job, other work others.
func TestSeeds(t *testing.T) {
	b := newBlocks()
	guests := &fakeGuests{}
	r := NewRunner(Config{Store: b, Inputs: b, Guests: guests, Dir: t.TempDir()})
	run := func(file, command string) [32]byte {
		m := b.job(t, []string{file}, 100, protocol.Stage{Kind: protocol.MapStage, Program: &protocol.Program{Kind: protocol.Exec, Command: command}})
		m.Name = fmt.Sprint(len(guests.runs))
		if _, err := r.Run(t.Context(), Work{Manifest: m, Job: b.add(t, m.Name)}); err != nil {
			t.Fatal(err)
		}
		return guests.runs[len(guests.runs)-1].Seed
	}
	first := run("a\n", "x")
	if run("a\n", "x") != first {
		t.Error("the seed depends on the job")
	}
	if run("b\n", "x") == first || run("a\n", "y") == first {
		t.Error("the seed does not depend on program and input")
	}
}

// TestEnvironment: what the job sets and what the task is reach programs of
// every kind, and a job cannot say that it is another.
func TestEnvironment(t *testing.T) {
	b := newBlocks()
	guests := &fakeGuests{}
	var seen []string
	look := func(ctx context.Context, _ io.Reader, _, _ io.Writer) error {
		for _, name := range []string{"A", jobVar, stageVar, taskVar, "B"} {
			seen = append(seen, Getenv(ctx, name))
		}
		return nil
	}
	r := NewRunner(Config{Store: b, Inputs: b, Guests: guests, Funcs: map[string]Func{"look": look}, Dir: t.TempDir()})
	job := b.add(t, "a job")
	for _, p := range []*protocol.Program{{Kind: protocol.Exec, Command: "x"}, funcProgram("look")} {
		m := b.job(t, []string{"a\nb\n"}, 2, protocol.Stage{Name: "map", Kind: protocol.MapStage, Program: p})
		m.Env = []string{"A=1=2", "MESHNODE_TASK=9/9"}
		if _, err := r.Run(t.Context(), Work{Manifest: m, Job: job, Task: protocol.Key{Index: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"A=1=2", "MESHNODE_TASK=9/9", "MESHNODE_JOB=" + job.String(), "MESHNODE_STAGE=map", "MESHNODE_TASK=0/1"}; !slices.Equal(guests.runs[0].Env, want) {
		t.Errorf("a command sees %q, want %q", guests.runs[0].Env, want)
	}
	if want := []string{"1=2", job.String(), "map", "0/1", ""}; !slices.Equal(seen, want) {
		t.Errorf("a function sees %q, want %q", seen, want)
	}
	if got := Getenv(t.Context(), "A"); got != "" {
		t.Errorf("outside of a task, A is %q", got)
	}
}

// TestCache fetches files once each, keeps a bounded number, and none that is
// in use goes.
func TestCache(t *testing.T) {
	b, dir := newBlocks(), filepath.Join(t.TempDir(), "files")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "half"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	gets := map[protocol.CID]int{}
	b.before = func(c protocol.CID) { mu.Lock(); gets[c]++; mu.Unlock() }
	k := newCache(dir, ".x", 2, 100)
	get := &tracker{Getter: b}

	file := b.add(t, "content")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			path, release, err := k.fetch(t.Context(), get, file)
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if got, err := os.ReadFile(path); string(got) != "content" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if gets[file] != 1 {
		t.Errorf("fetched %d times", gets[file])
	}
	held, release, err := k.fetch(t.Context(), get, file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		_, release, err := k.fetch(t.Context(), get, b.add(t, fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	if _, err := os.Stat(held); err != nil {
		t.Errorf("a file in use went: %v", err)
	}
	release()
	release()
	left, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(left) != 2 || !slices.Contains(left, held) {
		t.Errorf("%d files are kept: %v", len(left), left)
	}

	gone := b.add(t, "will be back")
	b.forget(gone)
	if _, _, err := k.fetch(t.Context(), get, gone); err == nil {
		t.Error("a missing file was fetched")
	}
	b.add(t, "will be back")
	if _, release, err := k.fetch(t.Context(), get, gone); err != nil {
		t.Errorf("a failure was remembered: %v", err)
	} else {
		release()
	}
	var failed *Failed
	if _, _, err := k.fetch(t.Context(), get, b.add(t, strings.Repeat("x", 101))); !errors.As(err, &failed) || failed.Kind != protocol.FailLoad {
		t.Errorf("too large a file: %v", err)
	}
}
