package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRequirements runs jobs that demand a label on two real nodes of which one
// has it, and asks the other one what happened.
func TestRequirements(t *testing.T) {
	m := newMachine(t)
	a := m.start("a", "--allow-exec", "--label", "gpu=small", "--label", "attic")
	b := m.start("b", "--allow-exec", "--task-memory", "64MiB", "--join", a.invite())
	m.meets(a, b)
	input := filepath.Join(m.dir, "input")
	if err := os.WriteFile(input, []byte(strings.Repeat("line\n", 8)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := []string{"run", "--map", `exec:cat >/dev/null; echo "$MESHNODE_STAGE $MESHNODE_TASK $A $LANG"`, "--in", input, "--split", "10"}

	got := b.must(append(program, "--require", "label=gpu=small,label=attic", "--env", "A=1 2", "--name", "labelled", "--strategy", "resource", "--priority", "3")...)
	want := "map 0/0 1 2 C.UTF-8\nmap 0/1 1 2 C.UTF-8\nmap 0/2 1 2 C.UTF-8\nmap 0/3 1 2 C.UTF-8\n"
	if got != want {
		t.Errorf("the programs saw %q, want %q", got, want)
	}
	explained(t, a, b)

	b.must(append(program, "--require", "mem=65MiB", "--name", "roomy")...)
	for _, job := range []string{"labelled", "roomy"} {
		var e explanation
		b.json(&e, "job", "explain", job, "map/0")
		if len(e.Runs) != 1 || e.Runs[0].Peer != a.id() {
			t.Errorf("the job %s, which only the first node can run, has the runs %+v", job, e.Runs)
		}
	}

	_, errout, status := b.run(append(program, "--require", "label=gpu")...)
	if status != 1 || !strings.Contains(errout, `lacks the label "gpu"`) || !strings.Contains(errout, "hint: ") {
		t.Errorf("a label that no node has: status %d, error %q", status, errout)
	}
	for _, p := range []*process{a, b} {
		p.interrupt()
	}
}

type explanation struct {
	Job struct {
		Policy struct {
			Strategy, Queue string
			Priority        int
		} `json:"policy"`
		RunUntil string `json:"run_until"`
	} `json:"job"`
	Runs []struct {
		Peer string `json:"peer"`
	} `json:"runs"`
	Stages []struct {
		Name        string `json:"name"`
		Tasks, Done int
	} `json:"stages"`
	Now struct {
		State string `json:"state"`
	} `json:"now"`
}

// explained holds what the second node tells of the job that ran on the first.
func explained(t *testing.T, a, b *process) {
	t.Helper()
	text := b.must("job", "explain", "labelled", "map/1")
	for _, want := range []string{"task 0/1 (map) of job ", "awarded to a (", "done by a (", "\nNow: done by a ("} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the story of a task:\n%s", want, text)
		}
	}
	var e explanation
	b.json(&e, "job", "explain", "labelled")
	if p := e.Job.Policy; p.Strategy != "resource" || p.Queue != "priority" || p.Priority != 3 || e.Job.RunUntil == "" {
		t.Errorf("the job's policy is %+v", e.Job)
	}
	if len(e.Stages) != 2 || e.Stages[0].Name != "map" || e.Stages[0].Done != 4 || e.Now.State != "final" {
		t.Errorf("the job's story is %+v", e)
	}
	if peers := b.must("peer", "ls"); !strings.Contains(peers, "gpu=small,attic") {
		t.Errorf("the second node does not list the labels of the first:\n%s", peers)
	}
	if _, errout, status := b.run("job", "explain", "labelled", "map/4"); status != 1 || !strings.Contains(errout, "it has 0/0 to 0/3 (map)") {
		t.Errorf("a task that is none: status %d, error %q", status, errout)
	}
}
