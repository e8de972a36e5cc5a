package main_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	mapModule    = "../../examples/wordcount/map.wasm"
	reduceModule = "../../examples/wordcount/reduce.wasm"
	corpusSeed   = 20261122
	corpusBytes  = 6 << 20
)

// TestProcesses is the promise of the first page, with real processes: three
// nodes, input added on the first, a job run from the second, kill -9 of the
// third while it works, and the right answer from the first.
func TestProcesses(t *testing.T) {
	m := newMachine(t)
	a := m.start("a")
	b := m.start("b", "--join", a.invite())
	c := m.start("c", "--join", a.invite())
	m.meets(a, b, c)

	corpus := filepath.Join(m.dir, "corpus")
	files := writeCorpus(t, corpus, corpusSeed, corpusBytes)
	want := countNatively(t, files)
	compareWithAwk(t, files, want)

	var added struct {
		CID    string `json:"cid"`
		Bytes  int64  `json:"bytes"`
		Files  int    `json:"files"`
		Copies int    `json:"copies"`
	}
	a.json(&added, "add", corpus)
	if added.Files != len(files) || added.Copies != 3 {
		t.Errorf("added %d files with %d copies, not %d with 3", added.Files, added.Copies, len(files))
	}

	killOne(t, a, b, c, added.CID, want)
	refuseExec(t, a, added.CID)
	c = comeBack(t, m, a, b, c, added.CID, want)
	for _, p := range []*process{a, b, c} {
		p.interrupt()
	}
}

// killOne kills the third node in the middle of a job and compares the result.
func killOne(t *testing.T, a, b, c *process, input, want string) {
	job := strings.TrimSpace(b.must("run", "--map", mapModule, "--reduce", reduceModule, "--combine", reduceModule,
		"--split", strconv.Itoa(16<<10), "--in", input, "--name", "words", "--detach"))
	victim := c.id()
	var s jobStatus
	eventually(t, "the third node is at work", func() bool {
		a.json(&s, "job", "status", job)
		// Where the others were much faster to compile the module, it is
		// still at its first tasks.
		return s.Workers[victim] >= 2 || s.Done > 0 && s.Done >= s.Total/2
	})
	if s.Done == s.Total {
		t.Fatalf("all %d tasks were done before the third node could be killed: the test needs a larger input", s.Total)
	}
	children := c.processes() - 1
	c.kill()
	t.Logf("killed the third node with %d of %d tasks done, %d of them by it", s.Done, s.Total, s.Workers[victim])
	if onLinux() {
		if children < 1 {
			t.Error("the third node ran wasm without a child process")
		}
		eventually(t, "no child of the killed node is left", func() bool { return c.processes() == 0 })
	}

	a.must("job", "wait", job)
	a.json(&s, "job", "status", job)
	if s.State != "final" || s.Done != s.Total || s.Error != "" {
		t.Errorf("after wait the job is %+v", s)
	}
	t.Logf("%d tasks, %d runs", s.Total, s.Executions)
	if got := a.must("job", "result", job); got != want {
		t.Errorf("the result differs from a sequential count: %s", firstDifference(got, want))
	}
}

// refuseExec holds that a native command does not run where no owner allowed
// it, and that the error says how to allow it.
func refuseExec(t *testing.T, a *process, input string) {
	out, errout, status := a.run("run", "--map", "exec:cat", "--in", input)
	if status != 1 || out != "" || !strings.Contains(errout, "exec") || !strings.Contains(errout, "--allow-exec") {
		t.Errorf("exec on nodes that do not allow it: status %d, output %q, error %q", status, out, errout)
	}
}

// comeBack restarts the killed node on its folder, now with exec, and runs a
// pair of Hadoop Streaming programs on it from a node that does not allow them.
func comeBack(t *testing.T, m *machine, a, b, c *process, input, want string) *process {
	id := c.peer
	c = m.start("c", "--allow-exec")
	if c.id() != id {
		t.Errorf("the node came back as %s, it was %s", c.id(), id)
	}
	m.meets(a, b, c)
	if _, err := exec.LookPath("python3"); err != nil {
		if got := a.must("run", "--map", "exec:cat", "--in", input); len(got) == 0 {
			t.Error("exec:cat gives nothing")
		}
		t.Log("no python3 here: ran cat instead")
		return c
	}
	got := a.must("run", "--map", "exec:python3 mapper.py", "--reduce", "exec:python3 reducer.py",
		"--file", "../../examples/wordcount/mapper.py", "--file", "../../examples/wordcount/reducer.py", "--split", strconv.Itoa(1<<20), "--in", input)
	if got != want {
		t.Errorf("the Python pair's result differs from a sequential count: %s", firstDifference(got, want))
	}
	return c
}

type jobStatus struct {
	Job        string         `json:"job"`
	State      string         `json:"state"`
	Total      int            `json:"total"`
	Done       int            `json:"done"`
	Executions int            `json:"executions"`
	Workers    map[string]int `json:"workers"`
	Error      string         `json:"error"`
}

// json runs the command with --json and decodes what it prints.
func (p *process) json(v any, args ...string) {
	p.t.Helper()
	out := p.must(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		p.t.Fatalf("%v --json prints %q: %v", args, out, err)
	}
}
