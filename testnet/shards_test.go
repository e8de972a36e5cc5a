package testnet_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/testnet"
)

// numbers writes a file of n numbered lines, each as long as the others, and
// returns a split that gives each line a task of its own.
func numbers(t *testing.T, n int) (path, text string, split int64) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line%07d\n", i)
	}
	return write(t, filepath.Join(t.TempDir(), "lines"), []byte(b.String())), b.String(), int64(b.Len() / n)
}

// copyFunc gives what it reads, and says so in its log.
func copyFunc(_ context.Context, in io.Reader, out, log io.Writer) error {
	text, err := io.ReadAll(in)
	if err == nil {
		_, err = out.Write(text)
	}
	fmt.Fprintln(log, "copied")
	return err
}

// countFunc counts the records of each key, which come sorted.
func countFunc(_ context.Context, in io.Reader, out, _ io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	counts := map[string]int{}
	var keys []string
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if counts[key] == 0 {
			keys = append(keys, key)
		}
		n := 0
		fmt.Sscan(value, &n)
		counts[key] += n
	}
	for _, k := range keys {
		fmt.Fprintf(out, "%s\t%d\n", k, counts[k])
	}
	return nil
}

// lastDigitFunc says "its last digit, once" of each line.
func lastDigitFunc(_ context.Context, in io.Reader, out, _ io.Writer) error {
	text, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		fmt.Fprintf(out, "%s\t1\n", line[len(line)-1:])
	}
	return nil
}

func shardFuncs() map[string]node.Func {
	return map[string]node.Func{"copy": copyFunc, "count": countFunc, "digit": lastDigitFunc}
}

func function(name string) node.ProgramSpec { return node.ProgramSpec{Kind: protocol.Func, Func: name} }

// finishThrough waits for a job on a node that lives on, and kills another one
// when a part of the job is done.
func finishThrough(t *testing.T, ctx context.Context, net *testnet.Net, job protocol.CID, reader, victim int) (string, node.JobStatus) {
	t.Helper()
	killed := false
	if _, err := net.Node(reader).Wait(ctx, job, func(st node.JobStatus) {
		if !killed && st.Done >= st.Total/4 {
			killed = true
			net.Kill(victim)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !killed {
		t.Fatal("nobody died")
	}
	return finish(t, ctx, net.Node(reader), job)
}

// TestShardsOfAMap runs a job whose tasks are looked after in several parts,
// while a steward of the job dies: the result is as if one node had done it all,
// and the status and the logs cover all parts.
func TestShardsOfAMap(t *testing.T) {
	const lines = 1200
	net, ctx := start(t, testnet.Config{Nodes: 5, Funcs: shardFuncs()})
	path, want, split := numbers(t, lines)
	job, err := net.Node(0).Submit(ctx, node.JobSpec{Map: function("copy"), Inputs: []string{path}, Split: split}, nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := net.Node(0).JobStatus(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	victim, reader := net.Index(st.Stewards[0]), 0
	if victim == reader {
		reader = 1
	}
	got, end := finishThrough(t, ctx, net, job, reader, victim)
	if got != want {
		t.Fatalf("the result has %d bytes, want %d", len(got), len(want))
	}
	if shards := (lines + protocol.ShardLeaves - 1) / protocol.ShardLeaves; end.Total < lines+shards {
		t.Fatalf("%d tasks are not those of %d shards", end.Total, shards)
	}
	logs := map[string]bool{}
	workers := map[peer.ID]bool{}
	if err := net.Node(reader).Logs(ctx, job, func(e node.LogEntry) error {
		if e.Stage == "map" {
			logs[e.Task], workers[e.Worker] = true, true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	told, err := net.Node(reader).Explain(ctx, job, &protocol.Key{Index: lines - 1})
	if err != nil || told.Now.State != "done" || len(told.Runs) == 0 {
		t.Fatalf("of a task of the last shard nobody knows more than %+v, %v", told, err)
	}
	if len(logs) < lines*9/10 || len(workers) < 3 {
		t.Fatalf("logs of %d of %d tasks, by %d nodes", len(logs), lines, len(workers))
	}
}

// TestShardsOfAReduce runs a job with a merge tree in several columns, while a
// node dies that is not the first steward of the job.
func TestShardsOfAReduce(t *testing.T) {
	const lines = 1100
	net, ctx := start(t, testnet.Config{Nodes: 5, Funcs: shardFuncs()})
	path, _, split := numbers(t, lines)
	count := function("count")
	job, err := net.Node(1).Submit(ctx, node.JobSpec{Map: function("digit"), Combine: &count, Reduce: &count, Partitions: 2, Inputs: []string{path}, Split: split, Mode: protocol.Strict}, nil)
	if err != nil {
		t.Fatal(err)
	}
	st, err := net.Node(1).JobStatus(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	victim := net.Index(worker(st, net))
	got, _ := finishThrough(t, ctx, net, job, net.Index(st.Stewards[1]), victim)
	counts := map[string]string{}
	for line := range strings.Lines(got) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		counts[key] = value
	}
	for digit := range 10 {
		if key := fmt.Sprint(digit); counts[key] != fmt.Sprint(lines/10) {
			t.Fatalf("%s lines end in %s, want %d: %v", counts[key], key, lines/10, counts)
		}
	}
}
