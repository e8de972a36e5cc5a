// Command kill measures what a job pays when nodes die under it: it runs real
// meshnode processes on loopback, kills or stops some of them in the middle of
// a job, and compares the result with what a sequential run gives.
//
// Enter it with: go run ./bench/kill --help
//
// One mesh runs at a time, new for every trial. A trial is owned by one
// goroutine; only its probe for new work runs beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are what the flags say.
type options struct {
	cases   string
	nodes   int
	slots   int
	tasks   int
	length  time.Duration
	at      int
	repeats int
	limit   time.Duration
	bin     string
	level   string
	keep    bool
	json    bool
	list    []scenario
}

const usage = `kill runs a job on a mesh of real meshnode processes on loopback, kills or
stops some of them when a part of the tasks is done, and shows what that cost.

Each task reads one number, sleeps and prints its square; each start of a task
is also written to a file that no node knows, so that nothing has to be believed
about how often tasks ran. The result must equal the expected bytes.

Usage:
  go run ./bench/kill [flags]

Examples:
  go run ./bench/kill
  go run ./bench/kill --cases worker,stop-submitter --repeats 5
  go run ./bench/kill --nodes 20 --cases third --tasks 1000
  go run ./bench/kill --cases steward0 --log-level debug --keep

Cases (none, the run without a fault, is always added):
%s
partition stands in for a cut of the network: processes that are stopped answer
nothing, and go on where they were. Their side of a real cut would go on
working; network namespaces are not used here. A stopped node's running tasks
are processes of their own and finish, unheard.

Columns:
  finished  trials that ended final; right: those whose bytes were as expected
  makespan  from the commit until a node that stays says final; median (range)
  ratio     of the medians, to the trials without a fault; over: the difference
  extra     starts of tasks beyond one each; again: tasks started more than once
  lost      how far the number of done tasks, as status shows it, ever fell: also
            for a moment, when those that knew of the last ones stop answering
  next      from the fault until status counts one more task done
  pause     longest time after the fault in which no task was counted
  noticed   until the observer no longer believes all victims alive
  accepted  until a surviving node has committed a new job, submitted at once

The exit status is 1 if any trial did not finish or gave a wrong result.

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run measures and returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "kill:", err)
		return 2
	}
	results, err := measure(ctx, o, stderr)
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = errors.Join(err, e.Encode(report{o.tasks, o.length.String(), o.nodes, o.slots, o.at, results}))
	} else {
		err = errors.Join(err, printReport(stdout, o, results))
	}
	for _, r := range results {
		if !r.Finished || !r.Right {
			err = errors.Join(err, fmt.Errorf("%s, run %d: finished %v, right %v: %s", r.Case, r.Run, r.Finished, r.Right, r.Problem))
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "kill:", err)
		return 1
	}
	return 0
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("kill", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		var cases strings.Builder
		for _, s := range scenarios() {
			fmt.Fprintf(&cases, "  %-15s %s\n", s.name, s.what)
		}
		fmt.Fprintf(stderr, usage, cases.String())
		f.PrintDefaults()
	}
	f.StringVar(&o.cases, "cases", "", "comma-separated `names` of cases (all that the nodes suffice for)")
	f.IntVar(&o.nodes, "nodes", 8, "nodes of the mesh")
	f.IntVar(&o.slots, "slots", 1, "tasks that a node runs at once")
	f.IntVar(&o.tasks, "tasks", 400, "tasks of the job")
	f.DurationVar(&o.length, "length", 50*time.Millisecond, "how long a task sleeps")
	f.IntVar(&o.at, "at", 40, "`percent` of the tasks done when the fault comes")
	f.IntVar(&o.repeats, "repeats", 1, "trials of each case, in turn")
	f.DurationVar(&o.limit, "limit", 90*time.Second, "how long a job may take")
	f.StringVar(&o.bin, "bin", "", "meshnode `binary` to use (built from this tree)")
	f.StringVar(&o.level, "log-level", "warn", "`level` of the nodes' logs")
	f.BoolVar(&o.keep, "keep", false, "keep the nodes' folders and logs, and say where they are")
	f.BoolVar(&o.json, "json", false, "print every trial as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.check(f.Args())
}

// Bounds of what a run may ask of a machine.
const (
	maxNodes   = 64
	maxTasks   = 10_000
	maxRepeats = 100
)

// check refuses what cannot be run, and finds the cases.
func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("takes flags only, not %q; see --help", rest[0])
	case o.nodes < 5 || o.nodes > maxNodes:
		return fmt.Errorf("--nodes takes 5, so that three stewards, a worker and an observer differ, to %d, not %d", maxNodes, o.nodes)
	case o.tasks < 10 || o.tasks > maxTasks:
		return fmt.Errorf("--tasks takes 10 to %d, not %d", maxTasks, o.tasks)
	case o.slots < 1 || o.length <= 0 || o.limit <= 0:
		return errors.New("--slots, --length and --limit take values above zero")
	case o.at < 1 || o.at > 90:
		return fmt.Errorf("--at takes 1 to 90 percent, not %d", o.at)
	case o.repeats < 1 || o.repeats > maxRepeats:
		return fmt.Errorf("--repeats takes 1 to %d, not %d", maxRepeats, o.repeats)
	}
	var err error
	o.list, err = choose(o.cases, o.nodes)
	return err
}

// measure runs every case, in turn, as often as asked.
func measure(ctx context.Context, o options, stderr io.Writer) ([]result, error) {
	dir, err := os.MkdirTemp("", "kill-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	if o.keep {
		fmt.Fprintln(stderr, "folders and logs are kept in", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	if o.bin == "" {
		if o.bin, err = build(ctx, dir); err != nil {
			return nil, err
		}
	}
	var results []result
	for i := range o.repeats {
		for _, s := range o.list {
			r := runTrial(ctx, o, s, dir, i+1)
			if ctx.Err() != nil {
				return results, errors.New("interrupted")
			}
			fmt.Fprintln(stderr, r.line())
			results = append(results, r)
		}
	}
	return results, nil
}
