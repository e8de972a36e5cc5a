package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/meshnode/meshnode/node"
)

// never stands for a time that did not come.
const never = -1

// result is what one trial gave. Times are seconds; never is -1.
type result struct {
	Case       string         `json:"case"`
	Run        int            `json:"run"`
	Finished   bool           `json:"finished"`
	Right      bool           `json:"right"`
	Problem    string         `json:"problem,omitempty"`
	Startup    float64        `json:"startup"` // of the mesh
	Submit     float64        `json:"submit"`  // until the commit
	Makespan   float64        `json:"makespan"`
	Tail       float64        `json:"tail"`     // from the last task counted to the end
	FaultAt    float64        `json:"fault_at"` // after the commit
	DoneAt     int            `json:"done_at"`  // tasks done when the fault came
	Victims    []string       `json:"victims,omitempty"`
	Extra      int            `json:"extra"`
	Again      int            `json:"again"`
	Lost       int            `json:"lost"`
	Next       float64        `json:"next"`
	Pause      float64        `json:"pause"`
	Noticed    float64        `json:"noticed"`
	Accepted   float64        `json:"accepted"`
	Slowest    float64        `json:"slowest_status"`
	Unanswered int            `json:"unanswered"` // status calls that failed
	End        node.JobStatus `json:"end"`        // the last status seen
}

// report is the form of --json.
type report struct {
	Tasks   int      `json:"tasks"`
	Length  string   `json:"length"`
	Nodes   int      `json:"nodes"`
	Slots   int      `json:"slots"`
	At      int      `json:"at_percent"`
	Results []result `json:"results"`
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// line is what is shown of a trial at once.
func (r result) line() string {
	s := fmt.Sprintf("%-15s run %d: finished %v, right %v, %.2f s (fault at %.2f s, tail %.2f s), %d extra", r.Case, r.Run, r.Finished, r.Right, r.Makespan, r.FaultAt, r.Tail, r.Extra)
	if len(r.Victims) > 0 {
		s += "; hit " + strings.Join(r.Victims, ", ")
	}
	if r.Problem != "" {
		s += "; " + r.Problem
	}
	return s
}

// printReport prints one row a case.
func printReport(out io.Writer, o options, results []result) error {
	fmt.Fprintf(out, "%d tasks of %s on %d nodes with %d slots each, %d cores, fault at %d %%; median (range) of the trials, in seconds\n\n",
		o.tasks, o.length, o.nodes, o.slots, runtime.NumCPU(), o.at)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\tfinished\tright\tmakespan\tratio\tover\textra\tagain\tlost\tnext\tpause\tnoticed\taccepted\tended")
	free := median(column(of(results, "none"), func(r result) float64 { return r.Makespan }))
	for _, s := range o.list {
		if trials := of(results, s.name); len(trials) > 0 {
			fmt.Fprintln(w, row(s.name, trials, free))
		}
	}
	return w.Flush()
}

func row(name string, trials []result, free float64) string {
	finished, right := 0, 0
	states := map[string]bool{}
	for _, r := range trials {
		if r.Finished {
			finished++
		}
		if r.Right {
			right++
		}
		states[fmt.Sprintf("%s %d/%d", orNone(string(r.End.State)), r.End.Done, r.End.Total)] = true
	}
	makespans := column(trials, func(r result) float64 { return r.Makespan })
	ratio, over := "-", "-"
	if m := median(makespans); free > 0 && m > 0 {
		ratio, over = fmt.Sprintf("%.2f", m/free), fmt.Sprintf("%+.2f", m-free)
	}
	cells := []string{
		name, fmt.Sprintf("%d/%d", finished, len(trials)), fmt.Sprintf("%d/%d", right, len(trials)),
		spread(makespans, "%.2f"), ratio, over,
	}
	for _, c := range []struct {
		get    func(result) float64
		format string
	}{
		{func(r result) float64 { return float64(r.Extra) }, "%.0f"},
		{func(r result) float64 { return float64(r.Again) }, "%.0f"},
		{func(r result) float64 { return float64(r.Lost) }, "%.0f"},
		{func(r result) float64 { return r.Next }, "%.2f"},
		{func(r result) float64 { return r.Pause }, "%.2f"},
		{func(r result) float64 { return r.Noticed }, "%.2f"},
		{func(r result) float64 { return r.Accepted }, "%.2f"},
	} {
		cells = append(cells, spread(column(trials, c.get), c.format))
	}
	ended := make([]string, 0, len(states))
	for s := range states {
		ended = append(ended, s)
	}
	slices.Sort(ended)
	return strings.Join(append(cells, strings.Join(ended, ", ")), "\t")
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

// column takes one value of each trial, sorted. What never came is left out.
func column(trials []result, get func(result) float64) []float64 {
	var out []float64
	for _, r := range trials {
		if v := get(r); v != never {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	return out
}

// median is the middle of sorted values, or 0.
func median(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// spread prints the median of sorted values, and the range of several.
func spread(sorted []float64, format string) string {
	if len(sorted) == 0 {
		return "-"
	}
	s := fmt.Sprintf(format, median(sorted))
	if first, last := fmt.Sprintf(format, sorted[0]), fmt.Sprintf(format, sorted[len(sorted)-1]); first != last {
		s += " (" + first + "-" + last + ")"
	}
	return s
}
