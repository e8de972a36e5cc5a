// Command kill measures what a job pays when nodes die under it: it runs real
// meshnode processes, kills, stops or cuts off some of them in the middle of a
// job, and compares the result with what a sequential run gives.
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
	"runtime"
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
	warmup  int
	repeats int
	net     string
	check   bool
	limit   time.Duration
	away    time.Duration
	bin     string
	level   string
	keep    bool
	json    bool
	list    []scenario
}

const usage = `kill runs a job on a mesh of real meshnode processes, kills, stops or cuts off
some of them when a part of the tasks is done, and shows what that cost.

Each task reads one number, sleeps and prints its square; each start and end of a
task is also written to a file that no node knows, so that nothing has to be
believed about how often tasks ran. The result must equal the expected bytes.

Usage:
  go run ./bench/kill [flags]

Examples:
  go run ./bench/kill
  go run ./bench/kill --cases worker,stop-submitter --warmup 1 --repeats 5
  go run ./bench/kill --nodes 20 --cases third --tasks 1000 --length 1s
  go build -o kill ./bench/kill && sudo ./kill --net namespaces --bin ./meshnode --cases partition

Cases (none, the run without a fault, is always added):
%s
The cases at the end of that list need --net namespaces, Linux and root: each node
then lives in a network namespace of its own, joined by virtual cards and a bridge
that this program makes and removes. A stopped node's running tasks are processes
of their own and finish, unheard.

Every case stands between two trials without a fault, with which it is compared.

Columns:
  finished  trials that ended final; right: those whose bytes were as expected
  makespan  from the commit until a node that stays says final; median (range)
  ratio     to the mean of the trials without a fault before and after; over: the
            difference in seconds; on the capacity left: the ratio to what that
            mean would be if what is left at the fault were done by the nodes
            that the fault spares, from then on
  lost      finished results lost: how far the number of done tasks, as status
            shows it, ever fell, if as many were run again (see redone)
  extra     starts of tasks beyond one each; again: tasks started more than once;
            redone: those started after a run of them had ended
  next      from the fault until status counts one more task done
  pause     longest time after the fault in which no task was counted
  noticed   until the observer no longer believes all victims alive
  accepted  until every node that is spared has committed a new job, all submitted
            at once
  ended     said: not final, but its status says why; silent: without a word

The exit status is 1 if any trial was wrong or silent, or did not finish where it
must, and with --check also if a figure misses its target.

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
	if len(results) == 0 {
		fmt.Fprintln(stderr, "kill:", err)
		return 1
	}
	misses := missed(o.list, results)
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = errors.Join(err, e.Encode(report{o.tasks, o.length.String(), o.nodes, o.slots, o.at, o.net, runtime.NumCPU(), results, misses}))
	} else {
		err = errors.Join(err, printReport(stdout, o, results), printMissed(stdout, misses))
	}
	for _, r := range results {
		if !acceptable(o.list, r) {
			err = errors.Join(err, fmt.Errorf("%s, run %d: %s: %s", r.Case, r.Run, r.Outcome, r.Problem))
		}
	}
	if o.check && len(misses) > 0 {
		err = errors.Join(err, fmt.Errorf("%d targets were missed", len(misses)))
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
			fmt.Fprintf(&cases, "  %-14s  %s\n", s.name, s.what)
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
	f.IntVar(&o.warmup, "warmup", 0, "trials without a fault that are not counted, at first")
	f.IntVar(&o.repeats, "repeats", 1, "trials of each case, in turn")
	f.StringVar(&o.net, "net", onLoopback, "`network` of the nodes: "+onLoopback+", or "+inNamespaces+" (needs Linux and root)")
	f.BoolVar(&o.check, "check", false, "end with status 1 if a figure misses its target")
	f.DurationVar(&o.limit, "limit", 0, "how long a job may take (90s, and three times what its tasks need on all slots)")
	f.DurationVar(&o.away, "away", 15*time.Second, "how long a fault that ends lasts")
	f.StringVar(&o.bin, "bin", "", "meshnode `binary` to use (built from this tree)")
	f.StringVar(&o.level, "log-level", "warn", "`level` of the nodes' logs")
	f.BoolVar(&o.keep, "keep", false, "keep the nodes' folders and logs, and say where they are")
	f.BoolVar(&o.json, "json", false, "print every trial as JSON")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	return o, o.validate(f.Args())
}

// Bounds of what a run may ask of a machine.
const (
	maxNodes   = 64
	maxTasks   = 10_000
	maxRepeats = 100
	limitBase  = 90 * time.Second
	limitTimes = 3
)

// validate refuses what cannot be run, and finds the cases.
func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("takes flags only, not %q; see --help", rest[0])
	case o.nodes < 5 || o.nodes > maxNodes:
		return fmt.Errorf("--nodes takes 5, so that three stewards, a worker and an observer differ, to %d, not %d", maxNodes, o.nodes)
	case o.tasks < 10 || o.tasks > maxTasks:
		return fmt.Errorf("--tasks takes 10 to %d, not %d", maxTasks, o.tasks)
	case o.slots < 1 || o.length <= 0 || o.limit < 0 || o.away <= 0:
		return errors.New("--slots, --length and --away take values above zero, --limit none below")
	case o.at < 1 || o.at > 90:
		return fmt.Errorf("--at takes 1 to 90 percent, not %d", o.at)
	case o.repeats < 1 || o.repeats > maxRepeats:
		return fmt.Errorf("--repeats takes 1 to %d, not %d", maxRepeats, o.repeats)
	case o.warmup < 0 || o.warmup > maxRepeats:
		return fmt.Errorf("--warmup takes 0 to %d, not %d", maxRepeats, o.warmup)
	case o.net != onLoopback && o.net != inNamespaces:
		return fmt.Errorf("--net takes %s or %s, not %q", onLoopback, inNamespaces, o.net)
	}
	if o.limit == 0 {
		o.limit = limitBase + limitTimes*time.Duration(o.tasks)*o.length/time.Duration(o.nodes*o.slots)
	}
	var err error
	if o.list, err = choose(o.cases, o.nodes, o.net); err != nil || o.net == onLoopback {
		return err
	}
	return mayNamespace()
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
	return series(ctx, o, dir, stderr)
}

// series runs the trials: each case between two without a fault.
func series(ctx context.Context, o options, dir string, stderr io.Writer) ([]result, error) {
	var results []result
	trial := func(s scenario, run int) error {
		r := runTrial(ctx, o, s, dir, run)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		fmt.Fprintln(stderr, r.line())
		results = append(results, r)
		return nil
	}
	none, quiet := o.list[0], 0
	for range o.warmup {
		quiet++
		if err := trial(none, quiet); err != nil {
			return nil, err
		}
	}
	results = nil
	for i := range o.repeats {
		for _, s := range o.list {
			if s.fault == nothing && i > 0 && len(o.list) > 1 {
				continue // the trial that ended the round before stands for it
			}
			run := i + 1
			if s.fault == nothing {
				quiet++
				run = quiet
			}
			if err := trial(s, run); err != nil {
				return results, err
			}
			if s.fault == nothing {
				continue
			}
			quiet++
			if err := trial(none, quiet); err != nil {
				return results, err
			}
		}
	}
	compare(o, results)
	return results, nil
}
