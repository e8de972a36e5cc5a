package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// TestSmoke runs two cases with real processes, small.
func TestSmoke(t *testing.T) {
	args := []string{"--nodes", "5", "--tasks", "60", "--cases", "steward0,stop-submitter", "--limit", "60s", "--json"}
	if bin := os.Getenv("MESHNODE_BIN"); bin != "" {
		args = append(args, "--bin", bin)
	}
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), args, &stdout, &stderr)
	t.Log(stderr.String())
	var got report
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("--json prints %q: %v", stdout.String(), err)
	}
	if status != 0 || len(got.Results) != 3 {
		t.Fatalf("status %d with %d trials, not 0 with 3", status, len(got.Results))
	}
	for i, name := range []string{"none", "steward0", "stop-submitter"} {
		r := got.Results[i]
		if r.Case != name || !r.Finished || !r.Right || r.Lost != 0 || r.Problem != "" {
			t.Errorf("%s: %s", name, r.line())
		}
		if hits := len(r.Victims); (name == "none") != (hits == 0) || hits > 1 {
			t.Errorf("%s hit %v", name, r.Victims)
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
		{"stewards", [][]int{{4}, {9}}}, {"third", [][]int{{9, 4, 1}}},
	} {
		list, err := choose(c.name, r.nodes)
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
		if got := spread(c.values, "%.1f"); got != c.want {
			t.Errorf("%v is shown as %s, not %s", c.values, got, c.want)
		}
	}
}
