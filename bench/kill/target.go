package main

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/meshnode/meshnode/bench/figures"
)

// target is what the median of a case's trials may cost. A zero field is no
// target.
type target struct {
	capacity     float64 // makespan over that on the capacity left
	over         float64 // seconds more than without a fault
	overCapacity float64 // seconds more than on the capacity left
	noticed      float64 // seconds
}

// What a fault may cost: a job must go on as if its mesh had been that small.
const (
	workerKill   = 1.15
	killCost     = 3.0 // seconds: a steward's rank wait, and its takeover
	hangCost     = 8.0 // seconds: the same, and claims that have to expire
	killNoticed  = 0.5 // seconds: connections close
	hangNoticed  = 3.0 // seconds: claims expire after 2
	acceptWithin = 1.0 // seconds: what a person takes for at once
)

// compare gives each trial with a fault its terms of comparison: the trials
// without one that come before and after it.
func compare(o options, results []result) {
	for i := range results {
		r := &results[i]
		if r.Free = around(results, i); r.Free <= 0 || r.FaultAt <= 0 {
			continue
		}
		away := time.Duration(math.MaxInt64)
		for _, s := range o.list {
			switch {
			case s.name == r.Case && s.restart:
				away = 0 // one at a time, and not for long
			case s.name == r.Case && s.heals:
				away = o.away
			}
		}
		r.Expected = r.FaultAt + capacityLeft(r.Free-r.FaultAt, o.nodes, len(r.Victims), away.Seconds())
	}
}

// capacityLeft is how many seconds all nodes' work of so many seconds takes,
// when some of them are away that long.
func capacityLeft(work float64, nodes, gone int, away float64) float64 {
	left := nodes - gone
	if work <= 0 || left <= 0 {
		return work
	}
	slowed := work * float64(nodes) / float64(left)
	if slowed <= away {
		return slowed
	}
	return away + work - away*float64(left)/float64(nodes)
}

// around is the mean makespan of the trials without a fault next to trial i, or
// 0; for one of them, of itself.
func around(results []result, i int) float64 {
	sum, n := 0.0, 0
	for _, at := range []int{i - 1, i, i + 1} {
		if at < 0 || at >= len(results) || results[at].Case != free || (at != i && results[i].Case == free) {
			continue
		}
		if r := results[at]; r.Finished {
			sum, n = sum+r.Makespan, n+1
		}
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// acceptable reports whether a trial ended as its case allows.
func acceptable(list []scenario, r result) bool {
	if r.Outcome == said {
		for _, s := range list {
			if s.name == r.Case {
				return s.mayLose
			}
		}
	}
	return r.Outcome == right
}

// missed says in words which targets the trials miss.
func missed(list []scenario, results []result) []string {
	var out []string
	for _, s := range list {
		trials := of(results, s.name)
		for _, r := range trials {
			if !acceptable(list, r) {
				out = append(out, fmt.Sprintf("%s, run %d: it ended %s", s.name, r.Run, r.Outcome))
			}
			if r.Lost > 0 && !s.mayLose {
				out = append(out, fmt.Sprintf("%s, run %d: %d finished results were lost", s.name, r.Run, r.Lost))
			}
		}
		if s.fault != nothing {
			out = append(out, s.target.missed(s.name, trials)...)
		}
	}
	return out
}

func (t target) missed(name string, trials []result) []string {
	var out []string
	for _, c := range []struct {
		what  string
		limit float64
		get   func(result) float64
	}{
		{"ratio on the capacity left", t.capacity, result.capacity},
		{"seconds over the run without a fault", t.over, result.over},
		{"seconds over the run on the capacity left", t.overCapacity, result.overCapacity},
		{"seconds until it was noticed", t.noticed, func(r result) float64 { return r.Noticed }},
		{"seconds until all had accepted new work", acceptWithin, func(r result) float64 { return r.Accepted }},
	} {
		got := values(trials, c.get)
		if c.limit == 0 || len(trials) == 0 {
			continue
		}
		if len(got) < len(trials) {
			out = append(out, fmt.Sprintf("%s: %s: unknown in %d of %d trials", name, c.what, len(trials)-len(got), len(trials)))
		} else if m := figures.Median(got); m > c.limit {
			out = append(out, fmt.Sprintf("%s: %s: %.2f, at most %.2f", name, c.what, m, c.limit))
		}
	}
	return out
}

func printMissed(out io.Writer, misses []string) error {
	if len(misses) == 0 {
		_, err := fmt.Fprintln(out, "\nNo target was missed.")
		return err
	}
	_, err := fmt.Fprintln(out, "\nTargets missed:")
	for _, m := range misses {
		_, err = fmt.Fprintln(out, "-", m)
	}
	return err
}
