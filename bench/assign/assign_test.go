package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// TestSmoke runs every case, small.
func TestSmoke(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"--thin", "40", "--scale", "0.2", "--warmup", "0", "--repeats", "1", "--limit", "60s", "--json"}, &stdout, &stderr)
	t.Log(stderr.String())
	var got report
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil {
		t.Fatalf("--json prints %q: %v", stdout.String(), err)
	}
	if want := len(experiments()); status != 0 || len(got.Results) != want {
		t.Fatalf("status %d with %d trials, not 0 with %d", status, len(got.Results), want)
	}
	for _, r := range got.Results {
		if !r.Right || r.Makespan < r.Bound || r.Waited < r.Makespan || r.Most == 0 || r.perTask() <= 0 {
			t.Errorf("%s: %+v", r.Case, r)
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--cases frob", `no case "frob"`},
		{"--scale 0", "--scale takes"},
		{"--thin 0", "--thin"},
		{"--repeats 0", "--repeats takes"},
		{"now", "flags only"},
		{"--frob", "not defined"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), strings.Fields(c.args), &stdout, &stderr); status != 2 || !strings.Contains(stderr.String(), c.says) {
			t.Errorf("%s: status %d, and says %q", c.args, status, stderr.String())
		}
	}
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"--help"}, &stdout, &stderr); status != 0 || !strings.Contains(stderr.String(), "stutter") {
		t.Errorf("--help: status %d, and says %q", status, stderr.String())
	}
}

// TestBound holds the shortest makespans of the cases.
func TestBound(t *testing.T) {
	for _, c := range []struct {
		e    experiment
		want time.Duration
	}{
		{experiment{mesh: shape{nodes: 8}, jobs: []batch{{lengths: even(400, 50*time.Millisecond)}}}, 2500 * time.Millisecond},
		{experiment{mesh: shape{nodes: 8}, jobs: []batch{{lengths: []time.Duration{time.Second, 9 * time.Second}}}}, 9 * time.Second},
		{experiment{mesh: shape{nodes: 2, stutter: true}, jobs: []batch{{lengths: even(4, time.Second)}}}, 3 * time.Second},
		{experiment{mesh: shape{nodes: 4, large: 2}, jobs: []batch{{lengths: even(8, time.Second)}}}, time.Second},
		{experiment{mesh: shape{nodes: 4, large: 2}, jobs: []batch{{lengths: even(4, time.Second), require: protocol.Require{Cores: largeSlots}}}}, 2 * time.Second},
		{experiment{mesh: shape{nodes: 2}, jobs: []batch{{lengths: even(4, time.Second)}, {lengths: even(4, time.Second)}}}, 4 * time.Second},
	} {
		if got := c.e.bound(); (got - c.want).Abs() > time.Microsecond {
			t.Errorf("bound %s, not %s", got, c.want)
		}
	}
}

// TestSkewed holds that the drawn lengths are those that the case names.
func TestSkewed(t *testing.T) {
	first, again := skewed(skewTasks), skewed(skewTasks)
	var logs float64
	for i, l := range first {
		if l != again[i] || l <= 0 || l > skewCap/skewDivisor {
			t.Fatalf("task %d has length %s, then %s", i, l, again[i])
		}
		logs += math.Log(l.Seconds() * skewDivisor)
	}
	if mean := logs / skewTasks; math.Abs(mean-1) > 0.2 {
		t.Errorf("the logarithms have mean %.2f, not about 1", mean)
	}
}

// TestStuttering holds that a stuttering node gets on only outside its stalls.
func TestStuttering(t *testing.T) {
	var spent time.Duration
	outside := func(_ context.Context, length time.Duration) error {
		if phase := time.Duration(time.Now().UnixNano()) % stallEvery; phase < stallFor {
			return errors.New("in a stall")
		}
		spent += length
		return nil
	}
	if err := stuttering(outside)(t.Context(), time.Second); err != nil || spent != time.Second {
		t.Errorf("%s were spent: %v", spent, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := stuttering(sleep)(ended, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("a task of a job that has ended gives %v", err)
	}
}

// TestMissed holds that every target can be missed, and met.
func TestMissed(t *testing.T) {
	list := []experiment{{name: "x", target: target{ratio: 1.1, messages: 4}}}
	for says, r := range map[string]result{
		"":                        {Case: "x", Right: true, Makespan: 1.1, Bound: 1},
		"makespan over its bound": {Case: "x", Right: true, Makespan: 1.2, Bound: 1},
		"messages a task":         {Case: "x", Right: true, Makespan: 1, Bound: 1, Tasks: 2, Messages: map[string]int64{"offer": 9}},
		"is wrong":                {Case: "x", Makespan: 1, Bound: 1, Problem: "the result is wrong"},
	} {
		got := strings.Join(missed(list, []result{r}), "\n")
		if (says == "") != (got == "") || !strings.Contains(got, says) {
			t.Errorf("%q is missing in %q", says, got)
		}
	}
}

// TestSince holds that only what was sent in between counts.
func TestSince(t *testing.T) {
	r := result{Tasks: 4, Messages: since(map[string]int64{"offer": 3, "ping": 5}, map[string]int64{"offer": 10, "ping": 5, "bid": 1})}
	if len(r.Messages) != 2 || r.perTask() != 2 {
		t.Errorf("%v, %.2f a task", r.Messages, r.perTask())
	}
}
