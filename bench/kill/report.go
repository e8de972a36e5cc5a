package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/meshnode/meshnode/bench/figures"
	"github.com/meshnode/meshnode/node"
)

// never stands for a time that did not come.
const never = -1

// Outcomes of a trial.
const (
	right  = "right"
	wrong  = "wrong"  // final, with other bytes than expected
	said   = "said"   // not final, and its status says why
	silent = "silent" // not final within the limit, without a word
)

// result is what one trial gave. Times are seconds; never is -1.
type result struct {
	Case       string         `json:"case"`
	Run        int            `json:"run"`
	Finished   bool           `json:"finished"`
	Right      bool           `json:"right"`
	Outcome    string         `json:"outcome"`
	Problem    string         `json:"problem,omitempty"`
	Startup    float64        `json:"startup"` // of the mesh
	Submit     float64        `json:"submit"`  // until the commit
	Makespan   float64        `json:"makespan"`
	Free       float64        `json:"free"`     // mean makespan of the trials without a fault before and after
	Expected   float64        `json:"expected"` // makespan on the capacity that the fault left
	Tail       float64        `json:"tail"`     // from the last task counted to the end
	FaultAt    float64        `json:"fault_at"` // after the commit
	DoneAt     int            `json:"done_at"`  // tasks done when the fault came
	Victims    []string       `json:"victims,omitempty"`
	Extra      int            `json:"extra"`
	Again      int            `json:"again"`
	Redone     int            `json:"redone"`
	Fell       int            `json:"fell"` // how far the number of done tasks ever fell
	Lost       int            `json:"lost"`
	Next       float64        `json:"next"`
	Pause      float64        `json:"pause"`
	Noticed    float64        `json:"noticed"`
	Accepted   float64        `json:"accepted"`
	Slowest    float64        `json:"slowest_status"`
	Unanswered int            `json:"unanswered"` // status calls that failed
	End        node.JobStatus `json:"end"`        // the last status seen
}

// ratio is the makespan against that of the trials without a fault around it;
// capacity against what the remaining nodes can do; over in seconds.
func (r result) ratio() float64    { return quotient(r.Makespan, r.Free) }
func (r result) capacity() float64 { return quotient(r.Makespan, r.Expected) }
func (r result) over() float64     { return difference(r.Makespan, r.Free) }

func (r result) overCapacity() float64 { return difference(r.Makespan, r.Expected) }

// quotient is never where one of the two is not known.
func quotient(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return never
	}
	return a / b
}

// difference is unknown, which no table shows, where one of the two is.
func difference(a, b float64) float64 {
	if a <= 0 || b <= 0 {
		return math.NaN()
	}
	return a - b
}

// report is the form of --json.
type report struct {
	Tasks   int      `json:"tasks"`
	Length  string   `json:"length"`
	Nodes   int      `json:"nodes"`
	Slots   int      `json:"slots"`
	At      int      `json:"at_percent"`
	Net     string   `json:"net"`
	Cores   int      `json:"cores"`
	Results []result `json:"results"`
	Missed  []string `json:"missed"` // targets
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// line is what is shown of a trial at once.
func (r result) line() string {
	s := fmt.Sprintf("%-15s run %d: %s, %.2f s (fault at %.2f s, tail %.2f s), %d extra", r.Case, r.Run, r.Outcome, r.Makespan, r.FaultAt, r.Tail, r.Extra)
	if len(r.Victims) > 0 {
		s += "; hit " + strings.Join(r.Victims, ", ")
	}
	if r.Problem != "" {
		s += "; " + r.Problem
	}
	return s
}

// columns are the figures of the table, with how they are printed.
func columns() []column {
	return []column{
		{"makespan", "%.2f", func(r result) float64 { return known(r.Makespan) }},
		{"ratio", "%.2f", result.ratio},
		{"on the capacity left", "%.2f", result.capacity},
		{"over", "%+.2f", result.over},
		{"lost", "%.0f", func(r result) float64 { return float64(r.Lost) }},
		{"extra", "%.0f", func(r result) float64 { return float64(r.Extra) }},
		{"again", "%.0f", func(r result) float64 { return float64(r.Again) }},
		{"redone", "%.0f", func(r result) float64 { return float64(r.Redone) }},
		{"next", "%.2f", func(r result) float64 { return r.Next }},
		{"pause", "%.2f", func(r result) float64 { return r.Pause }},
		{"noticed", "%.2f", func(r result) float64 { return r.Noticed }},
		{"accepted", "%.2f", func(r result) float64 { return r.Accepted }},
	}
}

// column is one figure of a trial.
type column struct {
	name   string
	format string
	get    func(result) float64
}

func known(v float64) float64 {
	if v == 0 {
		return never
	}
	return v
}

// printReport prints one row a case, in markdown.
func printReport(out io.Writer, o options, results []result) error {
	fmt.Fprintf(out, "%d tasks of %s on %d nodes with %d slots each (%s), %d cores, fault at %d %%; median (range) of the trials, in seconds\n\n",
		o.tasks, o.length, o.nodes, o.slots, o.net, runtime.NumCPU(), o.at)
	header, line := "| case | finished | right |", "|---|---|---|"
	for _, c := range columns() {
		header, line = header+" "+c.name+" |", line+"---|"
	}
	fmt.Fprintf(out, "%s ended |\n%s---|\n", header, line)
	var err error
	for _, s := range o.list {
		if trials := of(results, s.name); len(trials) > 0 {
			_, err = fmt.Fprintln(out, row(s.name, trials))
		}
	}
	return err
}

func row(name string, trials []result) string {
	finished, ended := 0, map[string]bool{}
	rightOnes := 0
	for _, r := range trials {
		if r.Finished {
			finished++
		}
		if r.Right {
			rightOnes++
		}
		ended[fmt.Sprintf("%s: %s %d/%d", r.Outcome, orNone(string(r.End.State)), r.End.Done, r.End.Total)] = true
	}
	cells := []string{name, fmt.Sprintf("%d/%d", finished, len(trials)), fmt.Sprintf("%d/%d", rightOnes, len(trials))}
	for _, c := range columns() {
		cells = append(cells, figures.Spread(values(trials, c.get), c.format))
	}
	cells = append(cells, strings.Join(slices.Sorted(maps.Keys(ended)), ", "))
	return "| " + strings.Join(cells, " | ") + " |"
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func of(results []result, name string) []result {
	var out []result
	for _, r := range results {
		if r.Case == name {
			out = append(out, r)
		}
	}
	return out
}

// values takes one value of each trial, sorted. What never came is left out.
func values(trials []result, get func(result) float64) []float64 {
	var out []float64
	for _, r := range trials {
		if v := get(r); v != never && !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}
