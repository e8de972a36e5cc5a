package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/meshnode/meshnode/bench/figures"
)

// unknown stands for a figure that a trial does not give.
const unknown = -1

// report is the form of --json.
type report struct {
	Scale   float64  `json:"scale"`
	Thin    int      `json:"thin"`
	Spin    bool     `json:"spin"`
	Cores   int      `json:"cores"`
	Results []result `json:"results"`
	Missed  []string `json:"missed"` // targets
}

func cores() int { return runtime.NumCPU() }

// line is what is shown of a trial at once.
func (r result) line() string {
	s := fmt.Sprintf("%-17s run %d: right %v, %.2f s of at least %.2f s", r.Case, r.Run, r.Right, r.Makespan, r.Bound)
	if r.Run < 1 {
		s += " (to warm up)"
	}
	if r.Problem != "" {
		s += "; " + r.Problem
	}
	return s
}

func (t target) String() string {
	switch {
	case t.ratio > 0:
		return fmt.Sprintf(" (target: ratio %.2f)", t.ratio)
	case t.messages > 0:
		return fmt.Sprintf(" (target: %.0f messages a task)", t.messages)
	}
	return ""
}

// column is one figure of a trial.
type column struct {
	name   string
	format string
	get    func(result) float64
}

func columns() []column {
	return []column{
		{"submit", "%.3f", func(r result) float64 { return r.Submit }},
		{"makespan", "%.2f", func(r result) float64 { return r.Makespan }},
		{"bound", "%.2f", func(r result) float64 { return r.Bound }},
		{"ratio", "%.3f", result.ratio},
		{"waited", "%.2f", func(r result) float64 { return r.Waited }},
		{"fewest", "%.0f", func(r result) float64 { return float64(r.Fewest) }},
		{"most", "%.0f", func(r result) float64 { return float64(r.Most) }},
		{"extra", "%.0f", func(r result) float64 { return float64(r.Extra) }},
		{"messages", "%.2f", result.perTask},
		{"cpu", "%.2f", func(r result) float64 { return 1000 * r.CPU / float64(r.Tasks) }},
	}
}

// printReport prints one row a case, in markdown.
func printReport(out io.Writer, o options, results []result, misses []string) error {
	fmt.Fprintf(out, "%d cores, lengths x %g, every %d. task; median (range) of %d trials, in seconds\n\n", cores(), o.scale, o.thin, o.repeats)
	header, line := "| case | right |", "|---|---|"
	for _, c := range columns() {
		header, line = header+" "+c.name+" |", line+"---|"
	}
	fmt.Fprintf(out, "%s\n%s\n", header, line)
	for _, e := range o.list {
		if trials := of(results, e.name); len(trials) > 0 {
			fmt.Fprintln(out, row(e.name, trials))
		}
	}
	for _, e := range o.list {
		printTurns(out, e, of(results, e.name))
		printKinds(out, e, of(results, e.name))
	}
	if len(misses) == 0 {
		_, err := fmt.Fprintln(out, "\nNo target was missed.")
		return err
	}
	_, err := fmt.Fprintf(out, "\nTargets missed:\n- %s\n", strings.Join(misses, "\n- "))
	return err
}

func row(name string, trials []result) string {
	right := 0
	for _, r := range trials {
		if r.Right {
			right++
		}
	}
	cells := []string{name, fmt.Sprintf("%d/%d", right, len(trials))}
	for _, c := range columns() {
		cells = append(cells, figures.Spread(values(trials, c.get), c.format))
	}
	return "| " + strings.Join(cells, " | ") + " |"
}

// printTurns prints when each job of a case with several ended.
func printTurns(out io.Writer, e experiment, trials []result) {
	if len(e.jobs) < 2 || len(trials) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s, from each job's submission to its end:", e.name)
	for i, b := range e.jobs {
		fmt.Fprintf(out, " %s %s", b.name, figures.Spread(values(trials, func(r result) float64 { return r.Turns[i] }), "%.2f"))
	}
	fmt.Fprintln(out)
}

// printKinds prints, where messages have a target, of which kinds they were.
func printKinds(out io.Writer, e experiment, trials []result) {
	if e.target.messages == 0 || len(trials) == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s, messages a task:", e.name)
	kinds := map[string]bool{}
	for _, r := range trials {
		for kind := range r.Messages {
			kinds[kind] = true
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(out, " %s %s", kind, figures.Spread(values(trials, func(r result) float64 { return float64(r.Messages[kind]) / float64(r.Tasks) }), "%.3f"))
	}
	fmt.Fprintln(out)
}

// missed says in words which targets the trials miss.
func missed(list []experiment, results []result) []string {
	var out []string
	for _, e := range list {
		trials := of(results, e.name)
		for _, r := range trials {
			if !r.Right {
				out = append(out, fmt.Sprintf("%s, run %d: %s", e.name, r.Run, r.Problem))
			}
		}
		for _, c := range []struct {
			what  string
			limit float64
			get   func(result) float64
		}{
			{"makespan over its bound", e.target.ratio, result.ratio},
			{"messages a task", e.target.messages, result.perTask},
		} {
			got := values(trials, c.get)
			if m := figures.Median(got); c.limit > 0 && len(got) > 0 && m > c.limit {
				out = append(out, fmt.Sprintf("%s: %s: %.3f, at most %.2f", e.name, c.what, m, c.limit))
			}
		}
	}
	return out
}

func of(results []result, name string) []result {
	return slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.Case != name })
}

// values takes one figure of each trial, sorted; unknown ones are left out.
func values(trials []result, get func(result) float64) []float64 {
	var out []float64
	for _, r := range trials {
		if v := get(r); v != unknown {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}
