package testnet_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/examples/wordcount"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/testnet"
)

func TestMain(m *testing.M) {
	node.ServeChild()
	os.Exit(m.Run())
}

// start starts a testnet that ends with the test. Its nodes' logs are shown
// when the test fails.
func start(t *testing.T, cfg testnet.Config) (*testnet.Net, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	var log bytes.Buffer
	handler := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})
	cfg.Logger = func(i int) *slog.Logger { return slog.New(handler).With("node", i) }
	net, err := testnet.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := net.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return net, ctx
}

// text writes a file of seeded words.
func text(t *testing.T, dir, name string, words int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, uint64(words)))
	var b bytes.Buffer
	for i := range words {
		fmt.Fprintf(&b, "word%d", rng.IntN(500))
		b.WriteByte(" \n\t"[i%3])
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path string, b []byte) string {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// wordCount is a job that counts the words of paths with the example's
// modules.
func wordCount(t *testing.T, split int64, partitions int, paths ...string) node.JobSpec {
	t.Helper()
	dir := t.TempDir()
	reduce := node.ProgramSpec{Kind: protocol.Wasm, Path: write(t, filepath.Join(dir, "reduce.wasm"), wordcount.ReduceModule())}
	return node.JobSpec{
		Name: "wordcount", Map: node.ProgramSpec{Kind: protocol.Wasm, Path: write(t, filepath.Join(dir, "map.wasm"), wordcount.MapModule())},
		Reduce: &reduce, Combine: &reduce, Inputs: paths, Split: split, Partitions: partitions,
	}
}

// finish waits for a job's result on node n.
func finish(t *testing.T, ctx context.Context, n *node.Node, job protocol.CID) (string, node.JobStatus) {
	t.Helper()
	st, err := n.Wait(ctx, job, nil)
	if err != nil {
		t.Fatal(err)
	}
	if st.State != protocol.StateFinal || st.Done != st.Total {
		t.Fatalf("the job ended %+v", st)
	}
	var out bytes.Buffer
	if _, err := n.Result(ctx, job, &out); err != nil {
		t.Fatal(err)
	}
	return out.String(), st
}

func TestMapOnOneNode(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 1, AllowExec: true})
	input := text(t, t.TempDir(), "in", 1000)
	spec := node.JobSpec{Map: node.ProgramSpec{Kind: protocol.Exec, Command: "cat"}, Inputs: []string{input}, Split: 500}
	job, err := net.Node(0).Submit(ctx, spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, st := finish(t, ctx, net.Node(0), job)
	want, _ := os.ReadFile(input)
	if strings.TrimRight(got, "\n") != strings.TrimRight(string(want), "\n") {
		t.Fatalf("cat gave %d bytes of %d", len(got), len(want))
	}
	if st.Total < 10 {
		t.Fatalf("%d tasks", st.Total)
	}
}

func TestWordCountFromAnyNode(t *testing.T) {
	net, ctx := start(t, testnet.Config{Nodes: 5})
	dir := t.TempDir()
	inputs := []string{text(t, dir, "a", 20000), text(t, dir, "b", 30000)}
	var want bytes.Buffer
	if err := wordcount.Count(&want, wordcount.Files(inputs)); err != nil {
		t.Fatal(err)
	}
	job, err := net.Node(1).Submit(ctx, wordCount(t, 8<<10, 1, inputs...), nil)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := finish(t, ctx, net.Node(4), job)
	if got != want.String() {
		t.Fatalf("the count differs from a sequential one: %d bytes, want %d", len(got), want.Len())
	}
}
