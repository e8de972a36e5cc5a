package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/bench/figures"
)

// TestSmoke runs small trials with real processes, and cuts a link where that
// can be done.
func TestSmoke(t *testing.T) {
	bin := os.Getenv("MESHNODE_BIN")
	if bin == "" {
		var err error
		if bin, err = build(t.Context(), t.TempDir()); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("loopback", func(t *testing.T) {
		smoke(t, bin, []string{"none", "steward0", "none", "stop-submitter", "none"}, "--cases", "steward0,stop-submitter")
	})
	t.Run("namespaces", func(t *testing.T) {
		if err := mayNamespace(); err != nil {
			noNamespaces(t)
			return
		}
		smoke(t, bin, []string{"none", "cut-steward0", "none"}, "--net", inNamespaces, "--cases", "cut-steward0", "--away", "3s")
		left, err := ipOut("netns", "list")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains("\n"+string(left), "\nmk") {
			t.Errorf("namespaces are left behind: %s", left)
		}
	})
}

// noNamespaces holds what is said where there can be none.
func noNamespaces(t *testing.T) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"--net", inNamespaces}, &stdout, &stderr)
	if said := stderr.String(); status != 2 || !strings.Contains(said, "leave") && !strings.Contains(said, "install") {
		t.Errorf("status %d, and says %q", status, said)
	}
}

// smoke runs small trials and holds that they are these, and ended well.
func smoke(t *testing.T, bin string, cases []string, more ...string) {
	t.Helper()
	args := append([]string{"--bin", bin, "--nodes", "5", "--tasks", "60", "--limit", "60s", "--json"}, more...)
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, &stdout, &stderr)
	t.Log(stderr.String())
	var got report
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("--json prints %q: %v", stdout.String(), err)
	}
	if status != 0 || len(got.Results) != len(cases) {
		t.Fatalf("status %d with %d trials, not 0 with %d", status, len(got.Results), len(cases))
	}
	for i, name := range cases {
		r := got.Results[i]
		if r.Case != name || r.Outcome != right || r.Lost != 0 || r.Problem != "" {
			t.Errorf("%s: %s", name, r.line())
		}
		if hits := len(r.Victims); (name == free) != (hits == 0) || hits > 1 {
			t.Errorf("%s hit %v", name, r.Victims)
		}
		if r.ratio() <= 0 {
			t.Errorf("%s is compared with nothing", name)
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--nodes 4", "--nodes takes 5"},
		{"--cases frob", `no case "frob"`},
		{"--nodes 6 --cases third", "needs --nodes 10"},
		{"--at 99", "percent"},
		{"--tasks 1", "--tasks takes 10"},
		{"--cases cut-steward0", "needs --net namespaces"},
		{"--net wifi", "--net takes"},
		{"--warmup -1", "--warmup takes"},
		{"now", "flags only"},
		{"--frob", "not defined"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), strings.Fields(c.args), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%s: status %d, and says %q", c.args, status, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, &stdout, &stderr); status != 0 || !strings.Contains(stderr.String(), "stop-submitter") {
		t.Errorf("--help: status %d, and says %q", status, stderr.String())
	}
}

// TestVictims holds who is hit in which case.
func TestVictims(t *testing.T) {
	r := roles{nodes: 10, submitter: 9, stewards: []int{4, 9, 1}, busy: []int{1, 9, 3, 2, 4, 5}}
	for _, c := range []struct {
		name string
		want [][]int
	}{
		{"none", nil}, {"worker", [][]int{{3}}}, {"submitter", [][]int{{9}}}, {"steward2", [][]int{{1}}},
		{"stewards", [][]int{{4}, {9}}}, {"third", [][]int{{9, 4, 1}}}, {"pause", [][]int{{9, 4, 1}}},
		{"partition", [][]int{{9, 4, 1}}}, {"stewards-back", [][]int{{4}, {9}}}, {"all-stewards", [][]int{{4, 9, 1}}}, {"one-way", [][]int{{4}}},
	} {
		list, err := choose(c.name, r.nodes, inNamespaces)
		if err != nil {
			t.Fatal(err)
		}
		got := list[len(list)-1].victims(r)
		if g, w := mustJSON(t, got), mustJSON(t, c.want); g != w {
			t.Errorf("%s hits %s, not %s", c.name, g, w)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{{nil, "-"}, {[]float64{1}, "1.0"}, {[]float64{1, 2, 4}, "2.0 (1.0-4.0)"}, {[]float64{1, 2}, "1.5 (1.0-2.0)"}} {
		if got := figures.Spread(c.values, "%.1f"); got != c.want {
			t.Errorf("%v is shown as %s, not %s", c.values, got, c.want)
		}
	}
}

// TestCompare holds what a trial is compared with.
func TestCompare(t *testing.T) {
	results := []result{
		{Case: free, Finished: true, Makespan: 4, FaultAt: 2},
		{Case: "worker", Finished: true, Makespan: 6, FaultAt: 2, Victims: []string{"n1"}},
		{Case: free, Finished: true, Makespan: 6, FaultAt: 2},
		{Case: "third", Finished: true, Makespan: 7, FaultAt: 3, Victims: []string{"n1", "n2"}},
		{Case: free, Makespan: 90, FaultAt: 3}, // did not finish
	}
	compare(options{list: scenarios(), nodes: 4, away: 15 * time.Second}, results)
	for i, want := range []struct{ free, expected float64 }{{4, 4}, {5, 6}, {6, 6}, {6, 9}, {0, 0}} {
		if r := results[i]; r.Free != want.free || r.Expected != want.expected {
			t.Errorf("trial %d is compared with %.2f and %.2f, not %.2f and %.2f", i, r.Free, r.Expected, want.free, want.expected)
		}
	}
}

// TestCapacityLeft holds how long work takes with nodes away.
func TestCapacityLeft(t *testing.T) {
	for _, c := range []struct {
		work        float64
		nodes, gone int
		away, want  float64
	}{{6, 4, 0, 15, 6}, {6, 4, 1, 15, 8}, {6, 4, 1, 4, 7}, {6, 4, 1, 0, 6}, {6, 4, 4, 15, 6}, {-1, 4, 1, 15, -1}} {
		if got := capacityLeft(c.work, c.nodes, c.gone, c.away); got != c.want {
			t.Errorf("%+v: %.2f", c, got)
		}
	}
}

// TestMissed holds that every kind of target can be missed, and met.
func TestMissed(t *testing.T) {
	s := scenario{name: "worker", fault: killed, target: target{capacity: 1.15, over: 3, overCapacity: 3, noticed: 0.5}}
	good := result{Case: "worker", Outcome: right, Makespan: 5, Free: 5, Expected: 5, Noticed: 0.1, Accepted: 0.1}
	for says, spoil := range map[string]func(*result){
		"":                         func(*result) {},
		"it ended silent":          func(r *result) { r.Outcome = silent },
		"it ended said":            func(r *result) { r.Outcome = said },
		"2 finished results":       func(r *result) { r.Lost = 2 },
		"ratio on the capacity":    func(r *result) { r.Expected = 4 },
		"over the run without":     func(r *result) { r.Free = 1 },
		"over the run on the":      func(r *result) { r.Expected = 1 },
		"until it was noticed":     func(r *result) { r.Noticed = 2 },
		"noticed: unknown in 1 of": func(r *result) { r.Noticed = never },
		"accepted new work":        func(r *result) { r.Accepted = 2 },
	} {
		r := good
		spoil(&r)
		got := strings.Join(missed([]scenario{s}, []result{r}), "\n")
		if (says == "") != (got == "") || !strings.Contains(got, says) {
			t.Errorf("%q is missing in %q", says, got)
		}
	}
}

// TestTestimony holds how runs are counted.
func TestTestimony(t *testing.T) {
	w, err := newWorkload(t.TempDir(), "w", 3, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.runs, []byte("0\n1\n1\n1.\n2\n0.\n0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := w.testimony()
	if want := (testimony{starts: 5, again: 2, redone: 1}); err != nil || got != want {
		t.Errorf("%+v, %v, not %+v", got, err, want)
	}
}
