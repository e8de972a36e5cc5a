package local

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/internal/local/localtest"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPeer = "12D3KooWGzh2EJ4AAmoGBSoBfyYQ4xrYEPjMPPmeQGVzSFRwHnN6"

func fake(t *testing.T) *localtest.Node {
	t.Helper()
	id, err := peer.Decode(testPeer)
	if err != nil {
		t.Fatal(err)
	}
	return localtest.New(id)
}

// serve runs a server of n in dir until the test ends.
func serve(t *testing.T, n Node, dir string) *Server {
	t.Helper()
	s, err := New(n, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- s.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), <-ran, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, dir string) *Client {
	t.Helper()
	c, err := Dial(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func pair(t *testing.T) (*localtest.Node, *Client) {
	t.Helper()
	n, dir := fake(t), t.TempDir()
	serve(t, n, dir)
	return n, dial(t, dir)
}

func equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestObserve(t *testing.T) {
	n, c := pair(t)
	n.Members = append(n.Members, node.Peer{ID: n.State.ID, Name: "b", State: node.Suspect, Load: 1.5})
	st, err := c.Status(t.Context())
	ok(t, err)
	equal(t, "status", st, n.State)
	peers, err := c.Peers(t.Context())
	ok(t, err)
	equal(t, "peers", peers, n.Members)
	o := node.InviteOptions{Roles: []string{"work"}, For: time.Hour}
	token, err := c.Invite(t.Context(), o)
	ok(t, err)
	equal(t, "token", token, "token")
	equal(t, "options", n.Invites(), []node.InviteOptions{o})
}

func TestFiles(t *testing.T) {
	n, c := pair(t)
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	ok(t, err)
	ok(t, os.WriteFile("in", []byte("some text"), 0o600))
	var done, total int64
	added, err := c.Add(t.Context(), "in", func(d, all int64) { done, total = d, all })
	ok(t, err)
	equal(t, "added", added, node.Added{CID: protocol.NewCID(protocol.CodecRaw, []byte("some text")), Bytes: 9, Files: 1, Copies: 1})
	equal(t, "progress", [2]int64{done, total}, [2]int64{9, 9})

	var out bytes.Buffer
	ok(t, c.Cat(t.Context(), added.CID, &out))
	equal(t, "cat", out.String(), "some text")
	ok(t, c.Get(t.Context(), added.CID, "copy", nil))
	data, err := os.ReadFile("copy")
	ok(t, err)
	equal(t, "get", string(data), "some text")
	equal(t, "paths", n.Paths(), []string{filepath.Join(here, "in"), filepath.Join(here, "copy")})
}

func TestJobs(t *testing.T) {
	n, c := pair(t)
	now := time.Now().UTC().Round(0)
	running := node.JobStatus{Job: localtest.Job(), State: protocol.StateRunning, Total: 2}
	final := node.JobStatus{
		Job: localtest.Job(), Name: "n", State: protocol.StateFinal, Total: 2, Done: 2, Root: localtest.Job(), Started: &now,
		Stewards: []peer.ID{n.State.ID}, Workers: map[peer.ID]int{n.State.ID: 2}, Submitter: n.State.ID,
	}
	n.Seen = []node.JobStatus{running, final}
	var last node.JobStatus
	st, err := c.Wait(t.Context(), localtest.Job(), func(st node.JobStatus) { last = st })
	ok(t, err)
	equal(t, "wait", st, final)
	equal(t, "last report", last, final)
	st, err = c.JobStatus(t.Context(), localtest.Job())
	ok(t, err)
	equal(t, "status", st, final)
	jobs, err := c.Jobs(t.Context())
	ok(t, err)
	equal(t, "jobs", jobs, []node.JobStatus{final})
	ok(t, c.Cancel(t.Context(), localtest.Job()))

	n.Seen = []node.JobStatus{running} // whose submitter is unknown
	st, err = c.JobStatus(t.Context(), localtest.Job())
	ok(t, err)
	equal(t, "status", st, running)
}

func TestResult(t *testing.T) {
	n, c := pair(t)
	n.Output, n.Partial = bytes.Repeat([]byte("0123456789"), 100_000), true
	n.Parts = [][]byte{[]byte("a"), nil}
	var out bytes.Buffer
	provisional, err := c.Result(t.Context(), localtest.Job(), &out)
	ok(t, err)
	equal(t, "provisional", provisional, true)
	equal(t, "result", out.Len(), len(n.Output))

	dir := filepath.Join(t.TempDir(), "out")
	provisional, err = c.ResultParts(t.Context(), localtest.Job(), dir)
	ok(t, err)
	equal(t, "provisional", provisional, true)
	parts, err := filepath.Glob(filepath.Join(dir, "part-*"))
	ok(t, err)
	equal(t, "parts", parts, []string{filepath.Join(dir, "part-00000"), filepath.Join(dir, "part-00001")})

	n.Output, n.Partial = nil, false
	out.Reset()
	provisional, err = c.Result(t.Context(), localtest.Job(), &out)
	ok(t, err)
	equal(t, "an empty result", [2]any{provisional, out.Len()}, [2]any{false, 0})
}

func TestLogs(t *testing.T) {
	n, c := pair(t)
	n.Entries = []node.LogEntry{{Task: "0/0", Stage: "map", Worker: n.State.ID, Took: time.Second, Log: "x\n"}, {Task: "0/1", Failed: "exit 3"}}
	var got []node.LogEntry
	each := func(e node.LogEntry) error { got = append(got, e); return nil }
	ok(t, c.Logs(t.Context(), localtest.Job(), each))
	equal(t, "entries", got, n.Entries)

	enough := errors.New("enough")
	if err := c.Logs(t.Context(), localtest.Job(), func(node.LogEntry) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the callback's error: got %v", err)
	}
	n.Errs["Logs"] = node.ErrNotFound
	if err := c.Logs(t.Context(), localtest.Job(), each); !errors.Is(err, node.ErrNotFound) {
		t.Errorf("an error after entries: got %v", err)
	}
}

func TestSubmit(t *testing.T) {
	n, c := pair(t)
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	ok(t, err)
	spec := node.JobSpec{
		Name: "n", Map: node.ProgramSpec{Kind: protocol.Wasm, Path: "m.wasm"},
		Reduce:  &node.ProgramSpec{Kind: protocol.Exec, Command: "cat"},
		Combine: &node.ProgramSpec{Kind: protocol.Wasm, Path: "/c.wasm"},
		Inputs:  []string{"in", "/abs", localtest.Job().String()}, Files: []string{"f"},
		Partitions: 3, Split: 4, Timeout: time.Second, Copies: 2, Mode: protocol.Strict,
		Policy:  protocol.Policy{Strategy: protocol.ByLocality, Queue: protocol.ByPriority, Priority: -3, Retries: 7},
		Require: protocol.Require{Cores: 2, Memory: 1 << 30, Labels: []string{"gpu"}},
		Env:     []string{"A=b"}, Expire: time.Hour, Keep: time.Minute,
	}
	job, err := c.Submit(t.Context(), spec, func(_, _ int64) {})
	ok(t, err)
	equal(t, "job", job, localtest.Job())
	equal(t, "the caller's spec", spec.Inputs[0], "in")
	want := spec
	want.Map.Path = filepath.Join(here, "m.wasm")
	want.Inputs = []string{filepath.Join(here, "in"), "/abs", localtest.Job().String()}
	want.Files = []string{filepath.Join(here, "f")}
	equal(t, "spec", n.Specs(), []node.JobSpec{want})
}

func TestExplain(t *testing.T) {
	n, c := pair(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	story := node.Explanation{
		Job:    node.JobStatus{Job: localtest.Job(), Workers: map[peer.ID]int{n.State.ID: 1}, Stewards: []peer.ID{n.State.ID}},
		Task:   "1/2",
		Stages: []node.StageShare{{Stage: 1, Name: "reduce", Kind: protocol.ReduceStage, Tasks: 3}},
		Events: []node.StoryEvent{
			{At: at, Kind: protocol.EventOffered, Tasks: []string{"1/2"}, Peers: []peer.ID{n.State.ID}, By: n.State.ID},
			{At: at, Kind: protocol.EventRefused, Peer: n.State.ID, Text: "no", Times: 2},
		},
		Runs: []node.RunShare{{Peer: n.State.ID, Took: time.Second}}, Workers: []node.WorkerShare{},
		Now: node.NowState{State: "queued", Text: "on it"}, Told: []peer.ID{n.State.ID}, Silent: []peer.ID{},
	}
	whole := story
	whole.Task = ""
	n.Stories = map[string]node.Explanation{"1/2": story, "": whole}
	got, err := c.Explain(t.Context(), localtest.Job(), "1/2")
	ok(t, err)
	equal(t, "a task", got, story)
	got, err = c.Explain(t.Context(), localtest.Job(), "")
	ok(t, err)
	equal(t, "a job", got, whole)
	for _, text := range []string{"1/3", "a b&c"} {
		if _, err := c.Explain(t.Context(), localtest.Job(), text); !errors.Is(err, node.ErrUnknownTask) {
			t.Errorf("the task %q: got %v", text, err)
		}
	}
	other := protocol.NewCID(protocol.CodecDagCBOR, []byte("another"))
	if _, err := c.Explain(t.Context(), other, ""); !errors.Is(err, node.ErrUnknownJob) {
		t.Errorf("another job: got %v", err)
	}
}

func TestInputThatLooksLikeACID(t *testing.T) {
	t.Chdir(t.TempDir())
	name := localtest.Job().String()
	equal(t, "a CID", IsCID(name), true)
	ok(t, os.WriteFile(name, nil, 0o600))
	equal(t, "a file of that name", IsCID(name), false)
	equal(t, "a path", IsCID("./"+name), false)
}

func TestRefusesRelativePaths(t *testing.T) {
	_, c := pair(t)
	for _, spec := range []node.JobSpec{
		{Inputs: []string{"in"}},
		{Files: []string{"f"}},
		{Map: node.ProgramSpec{Path: "m.wasm"}},
		{Reduce: &node.ProgramSpec{Path: "r.wasm"}},
	} {
		err := c.stream(t.Context(), "POST", "/v1/jobs", spec, bytesFrom(nil), nil)
		if !errors.Is(err, node.ErrInput) || !strings.Contains(err.Error(), "not absolute") {
			t.Errorf("%+v: got %v", spec, err)
		}
	}
}
