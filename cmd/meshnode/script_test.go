package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/internal/local/localtest"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"meshnode": main})
}

// TestScripts runs the command line against no node, and against scripted ones.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MESHNODE_DIR", filepath.Join(env.WorkDir, "home"))
			env.Setenv("TZ", "UTC")
			env.Values[sceneKey{}] = &scene{}
			env.Setenv("JOB", localtest.Job().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    exitsWith,
			"node":      startFake,
			"interrupt": interrupted,
			"spec":      hasSpec,
		},
	})
}

// exitsWith: status N COMMAND ARGS... runs a command that must exit with N.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// scene holds the scripted node of a running script.
type scene struct{ node *localtest.Node }

type sceneKey struct{}

const (
	firstPeer  = "12D3KooWHHzSeKaY8xuZVzkLbKFfvNgPPeKhFBGrMbNzbm5akpqu"
	secondPeer = "12D3KooWEqwTBN3GE4vT6DWZiKpq24UtSBmhhwM73vg7SfTjYWaF"
)

// startFake: node STORY runs a scripted node in $MESHNODE_DIR until the script
// ends.
func startFake(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: node STORY")
	}
	n := story(ts, args[0])
	ts.Value(sceneKey{}).(*scene).node = n
	s, err := local.New(n, ts.Getenv("MESHNODE_DIR"), nil)
	ts.Check(err)
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	ts.Defer(func() { ts.Check(errors.Join(s.Close(), <-ran)) })
}

// story is a scripted node and its one job.
func story(ts *testscript.TestScript, name string) *localtest.Node {
	first, err := peer.Decode(firstPeer)
	ts.Check(err)
	second, err := peer.Decode(secondPeer)
	ts.Check(err)
	n := localtest.New(first)
	n.State.Peers, n.State.Bytes, n.State.Blocks = 1, 3<<20, 3
	n.Members = append(n.Members, node.Peer{ID: second, Name: "b\x1b[31m", State: node.Suspect, Load: 1.5, Slots: 4, Version: "v1", Addrs: []string{"/ip4/127.0.0.1/tcp/2"}})
	n.Entries = []node.LogEntry{
		{Task: "0/0", Stage: "map", Worker: first, Took: time.Second, Log: "hello"},
		{Task: "0/1", Stage: "map", Worker: second, Took: 1500 * time.Millisecond, Failed: "exit status 3", Log: "because\n"},
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ended := began.Add(2 * time.Second)
	st := node.JobStatus{
		Job: localtest.Job(), Name: "echo", State: protocol.StateFinal, Total: 2, Done: 2, Executions: 3, Root: localtest.Job(),
		Stewards: []peer.ID{second, first}, Workers: map[peer.ID]int{first: 1, second: 1}, Submitter: first, Copies: 2,
		Started: &began, Finished: &ended, InputBytes: 2 << 20, BytesDone: 2 << 20, Parts: 2,
	}
	running := st
	running.State, running.Done, running.Running, running.Finished = protocol.StateRunning, 1, 1, nil
	n.Output, n.Parts = []byte("a\t1\n"), [][]byte{[]byte("a\t1\n"), nil}
	switch name {
	case "final":
	case "special":
		until := ended.Add(time.Hour)
		st.CopiesWanted, st.Mode, st.Require = 9, protocol.Strict, protocol.Require{Cores: 2, Memory: 3 << 29, Labels: []string{"gpu"}}
		st.Policy, st.RunUntil = protocol.Policy{Strategy: protocol.AtRandom, Queue: protocol.ByPriority, Priority: 5, Retries: 9}, &until
		st.State, st.Shards, st.Ambiguous, st.Distrusted = protocol.StateProvisional, 2, true, []peer.ID{second}
		n.Members[1].Labels = []string{"gpu", "zone=attic"}
	case "provisional":
		st.State, n.Partial = protocol.StateProvisional, true
	case "failed":
		st.State, st.Error = protocol.StateFailed, "task 0/1 failed on node "+firstPeer+": exit status 3\nbecause\n"
	case "cancelled":
		st.State = protocol.StateCancelled
	case "stories":
		n.Stories = stories(first, second, running, st)
	case "ended":
		n.Errs["Cancel"] = fmt.Errorf("%w: it is final, and stays so", node.ErrEnded)
		n.Errs["Cat"] = fmt.Errorf("%w: %s is a folder; fetch it with get", node.ErrInput, localtest.Job())
		n.Members[1].State = node.Dead
	case "hangs":
		n.Hangs["Wait"] = true
	case "hangs at submit":
		n.Hangs["Submit"] = true
	case "broken":
		n.Errs["Result"] = fmt.Errorf("%w: block x of the result", node.ErrNotFound)
	case "unfinished":
		n.Output, n.Errs["Result"] = nil, node.ErrNotFinished
	case "incapable":
		n.Errs["Submit"] = fmt.Errorf("%w: stage \"map\": node %s: it lacks the label \"gpu\" (start it with --label)", node.ErrNoCapableNode, first)
	default:
		ts.Fatalf("unknown story %q", name)
	}
	n.Seen = []node.JobStatus{running, st}
	return n
}

// interrupted: interrupt COMMAND ARGS... runs a command until it is inside a
// hanging call, then sends it SIGINT. It must exit with 130.
func interrupted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: interrupt COMMAND ARGS...")
	}
	cmd := exec.Command(inPath(ts, args[0]), args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "MESHNODE_DIR="+ts.Getenv("MESHNODE_DIR"))
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	ts.Check(cmd.Start())
	<-ts.Value(sceneKey{}).(*scene).node.Entered
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		ts.Fatalf("after SIGINT: %v, want exit status 130", err)
	}
}

// inPath finds one of the test's own commands.
func inPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); fileExists(path) {
			return path
		}
	}
	ts.Fatalf("no command %s", name)
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hasSpec: spec TEXT holds that the JSON of the last submitted job has TEXT.
func hasSpec(ts *testscript.TestScript, neg bool, args []string) {
	specs := ts.Value(sceneKey{}).(*scene).node.Specs()
	if len(specs) == 0 {
		if !neg {
			ts.Fatalf("no job was submitted")
		}
		return
	}
	b, err := json.Marshal(specs[len(specs)-1])
	ts.Check(err)
	for _, want := range args {
		if strings.Contains(string(b), want) == neg {
			ts.Fatalf("the job is %s", b)
		}
	}
	if neg && len(args) == 0 {
		ts.Fatalf("a job was submitted: %s", b)
	}
}
