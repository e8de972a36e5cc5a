package testnet_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/examples/wordcount"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/testnet"
)

// TestDeaths kills, while a job runs, its submitter, its first steward and a
// worker, one after another: two copies of three may go at any time.
func TestDeaths(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 9, AllowExec: true})
	input := text(t, t.TempDir(), "in", 40000)
	spec := node.JobSpec{
		Map:    node.ProgramSpec{Kind: protocol.Exec, Command: `sleep 0.05; tr -s ' \t' '\n\n' | sed 's/$/\t1/'`},
		Reduce: &node.ProgramSpec{Kind: protocol.Exec, Command: `awk -F '\t' '$1 != k { if (NR > 1) print k "\t" n; k = $1; n = 0 } { n += $2 } END { print k "\t" n }'`},
		Inputs: []string{input}, Split: 8 << 10,
	}
	job, err := net.Node(4).Submit(ctx, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := net.Node(4).JobStatus(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	victims := []int{4}
	for _, id := range []peer.ID{st.Stewards[0], worker(st, net)} {
		if i := net.Index(id); i >= 0 && !slices.Contains(victims, i) {
			victims = append(victims, i)
		}
	}
	reader := slices.IndexFunc([]int{0, 1, 2, 3}, func(i int) bool { return !slices.Contains(victims, i) })
	next := 0
	end, err := net.Node(reader).Wait(ctx, job, func(st node.JobStatus) {
		if next < len(victims) && st.Done >= 3*(next+1) {
			net.Kill(victims[next])
			next++
		}
	})
	if err != nil || end.State != protocol.StateFinal {
		t.Fatalf("the job ended %+v, %v", end, err)
	}
	if next == 0 {
		t.Fatal("nobody died")
	}
	var got, want bytes.Buffer
	if _, err := net.Node(reader).Result(ctx, job, &got); err != nil {
		t.Fatal(err)
	}
	if err := wordcount.Count(&want, wordcount.Files([]string{input})); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Fatalf("the count differs from a sequential one: %d bytes, want %d", got.Len(), want.Len())
	}
}

// worker is a node that is not the first steward.
func worker(st node.JobStatus, net *testnet.Net) peer.ID {
	for _, i := range net.Alive() {
		if id := net.Node(i).ID(); !slices.Contains(st.Stewards, id) {
			return id
		}
	}
	return ""
}

func exec(command string) node.ProgramSpec {
	return node.ProgramSpec{Kind: protocol.Exec, Command: command}
}

// TestFailures runs programs that fail, and jobs that nobody can run.
func TestFailures(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 3, AllowExec: true})
	dir := t.TempDir()
	input := text(t, dir, "in", 100)
	for name, c := range map[string]struct {
		spec  node.JobSpec
		wants []string
	}{
		"exit":    {node.JobSpec{Map: exec("echo because >&2; exit 3")}, []string{"status 3", "because", "task 0/0", "node 12D3"}},
		"killed":  {node.JobSpec{Map: exec("kill -SEGV $$")}, []string{"task 0/0"}},
		"timeout": {node.JobSpec{Map: exec("sleep 60"), Timeout: 200 * time.Millisecond}, []string{"task 0/0"}},
		"output":  {node.JobSpec{Map: exec("yes"), Output: 100_000}, []string{"task 0/0"}},
		"reduce":  {node.JobSpec{Map: exec("cat"), Reduce: &node.ProgramSpec{Kind: protocol.Exec, Command: "exit 9"}}, []string{"status 9", "reduce"}},
	} {
		t.Run(name, func(t *testing.T) {
			c.spec.Inputs = []string{input}
			job, err := net.Node(0).Submit(ctx, c.spec, nil)
			if err != nil {
				t.Fatal(err)
			}
			st, err := net.Node(1).Wait(ctx, job, nil)
			if err != nil || st.State != protocol.StateFailed {
				t.Fatalf("the job ended %+v, %v", st, err)
			}
			for _, want := range c.wants {
				if !strings.Contains(st.Error, want) {
					t.Errorf("the error %q does not say %q", st.Error, want)
				}
			}
			if _, err := net.Node(2).Result(ctx, job, &bytes.Buffer{}); !errors.Is(err, node.ErrJobFailed) {
				t.Errorf("its result is %v, want ErrJobFailed", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 2})
	dir := t.TempDir()
	input := text(t, dir, "in", 100)
	notWasm := write(t, filepath.Join(dir, "x.wasm"), []byte("#!/bin/sh"))
	for name, c := range map[string]struct {
		spec node.JobSpec
		want error
		says string
	}{
		"exec not allowed": {node.JobSpec{Map: exec("cat")}, node.ErrNoCapableNode, "--allow-exec"},
		"unknown function": {node.JobSpec{Map: node.ProgramSpec{Kind: protocol.Func, Func: "f"}}, node.ErrNoCapableNode, `"f"`},
		"not wasm":         {node.JobSpec{Map: node.ProgramSpec{Kind: protocol.Wasm, Path: notWasm}}, node.ErrInput, "x.wasm"},
		"missing input":    {node.JobSpec{Map: exec("cat"), Inputs: []string{filepath.Join(dir, "none")}}, node.ErrInput, "none"},
		"missing file":     {node.JobSpec{Map: exec("cat"), Files: []string{filepath.Join(dir, "none")}}, node.ErrInput, "none"},
		"lone combiner":    {node.JobSpec{Map: exec("cat"), Combine: &node.ProgramSpec{Kind: protocol.Exec, Command: "cat"}}, node.ErrInput, "reduce"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.spec.Inputs == nil {
				c.spec.Inputs = []string{input}
			}
			_, err := net.Node(0).Submit(ctx, c.spec, nil)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %v that says %s", err, c.want, c.says)
			}
		})
	}
	if jobs, err := net.Node(1).Jobs(ctx); err != nil || len(jobs) != 0 {
		t.Fatalf("refused jobs are listed: %v, %v", jobs, err)
	}
	unknown := protocol.NewCID(protocol.CodecDagCBOR, []byte("no job"))
	if _, err := net.Node(0).JobStatus(ctx, unknown); !errors.Is(err, node.ErrUnknownJob) {
		t.Fatalf("an unknown job: %v", err)
	}
	lost := protocol.NewCID(protocol.CodecRaw, []byte("no block"))
	if err := net.Node(0).Cat(ctx, lost, &bytes.Buffer{}); !errors.Is(err, node.ErrNotFound) {
		t.Fatalf("an unknown block: %v", err)
	}
}

func TestEmptyInput(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 2})
	job, err := net.Node(0).Submit(ctx, wordCount(t, 0, 2, write(t, filepath.Join(t.TempDir(), "empty"), nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := finish(t, ctx, net.Node(1), job); got != "" {
		t.Fatalf("an empty input gave %q", got)
	}
	out := filepath.Join(t.TempDir(), "out")
	if _, err := net.Node(1).ResultParts(ctx, job, out); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 2 {
		t.Fatalf("parts %v, %v", entries, err)
	}
}

func TestCancel(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 3, AllowExec: true})
	input := text(t, t.TempDir(), "in", 100)
	job, err := net.Node(0).Submit(ctx, node.JobSpec{Map: exec("sleep 1000"), Inputs: []string{input}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wait, cancel := context.WithCancel(ctx)
	_, err = net.Node(1).Wait(wait, job, func(st node.JobStatus) {
		if st.Running > 0 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := net.Node(2).Cancel(ctx, job); err != nil {
		t.Fatal(err)
	}
	st, err := net.Node(1).Wait(ctx, job, nil)
	if err != nil || st.State != protocol.StateCancelled {
		t.Fatalf("the job ended %+v, %v", st, err)
	}
	for i := range 3 {
		for net.Node(i).Status().Running > 0 {
			if ctx.Err() != nil {
				t.Fatal("a cancelled task still runs")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func TestLogs(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 2, AllowExec: true})
	input := text(t, t.TempDir(), "in", 100)
	job, err := net.Node(0).Submit(ctx, node.JobSpec{Map: exec("echo seen >&2; cat"), Inputs: []string{input}, Split: 300}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, st := finish(t, ctx, net.Node(1), job)
	seen := 0
	if err := net.Node(1).Logs(ctx, job, func(e node.LogEntry) error {
		if e.Log == "seen\n" && e.Stage == "map" {
			seen++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := st.Total - 1; seen != want {
		t.Fatalf("%d logs of maps, want %d", seen, want)
	}
}

func TestMapOverASlice(t *testing.T) {
	square := node.MapFunc(func(_ context.Context, n int) (int, error) { return n * n, nil })
	net, ctx := start(t, testnet.Config{Nodes: 3, Funcs: map[string]node.Func{"square": square}})
	var items []int
	for i := range 1000 {
		items = append(items, i)
	}
	got, err := node.Map[int, int](ctx, net.Node(1), "square", items)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != i*i {
			t.Fatalf("square of %d: %d", i, v)
		}
	}
}

// TestFilesFromAnyNode adds a folder on one node and reads it on others, also
// when the one that added it is gone.
func TestFilesFromAnyNode(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 5})
	dir := filepath.Join(t.TempDir(), "in")
	if err := os.MkdirAll(filepath.Join(dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	text(t, dir, "a", 400000) // several blocks
	text(t, filepath.Join(dir, "sub"), "b", 10)
	added, err := net.Node(1).Add(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if added.Files != 2 || added.Copies != 3 {
		t.Fatalf("added %+v", added)
	}
	if holders := net.Node(4).Holders(ctx, added.CID); len(holders) < 3 {
		t.Fatalf("held by %d nodes", len(holders))
	}
	net.Kill(1)
	out := filepath.Join(t.TempDir(), "out")
	if err := net.Node(3).Get(ctx, added.CID, out, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "sub/b"} {
		want, _ := os.ReadFile(filepath.Join(dir, name))
		got, err := os.ReadFile(filepath.Join(out, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s came back with %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
}

// TestCloseLeavesNothing holds that Close ends every goroutine.
func TestCloseLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	net, err := testnet.Start(ctx, testnet.Config{Nodes: 3, AllowExec: true})
	if err != nil {
		t.Fatal(err)
	}
	job, err := net.Node(0).Submit(ctx, node.JobSpec{Map: exec("cat"), Inputs: []string{text(t, t.TempDir(), "in", 100)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, net.Node(1), job)
	if err := net.Close(); err != nil {
		t.Fatal(err)
	}
	if err := net.Close(); err != nil {
		t.Fatalf("closed twice: %v", err)
	}
	goleak.VerifyNone(t, before)
}

// TestRoles holds that a member does no more than its invitation says.
func TestRoles(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 3, AllowExec: true, Roles: map[int][]string{1: {"submit"}, 2: {"work", "store"}}})
	input := text(t, t.TempDir(), "in", 2000)
	spec := node.JobSpec{Map: exec("cat"), Inputs: []string{input}, Split: 300}
	if _, err := net.Node(2).Submit(ctx, spec, nil); err == nil || !strings.Contains(err.Error(), "role submit") {
		t.Fatalf("a node that may not submit did: %v", err)
	}
	job, err := net.Node(1).Submit(ctx, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, st := finish(t, ctx, net.Node(0), job)
	only := net.Node(1).ID()
	if slices.Contains(st.Stewards, only) || st.Workers[only] > 0 {
		t.Fatalf("a node that may only submit stewards or works: %+v", st)
	}
	if _, err := net.Node(1).Invite(node.InviteOptions{}); err == nil {
		t.Fatal("a node without the admin role invites")
	}
}
