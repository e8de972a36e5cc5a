// Command assign measures how well tasks find workers: it runs jobs of tasks of
// known length on a mesh inside this process, and compares the makespan with the
// shortest that there can be.
//
// Enter it with: go run ./bench/assign --help
//
// One trial runs at a time. A mesh is started for each shape that the cases ask
// for, and serves all of their trials.
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

	"github.com/meshnode/meshnode/node"
)

// options are what the flags say.
type options struct {
	cases   string
	scale   float64
	thin    int
	spin    bool
	warmup  int
	repeats int
	limit   time.Duration
	json    bool
	check   bool
	list    []experiment
}

const usage = `assign runs jobs on a mesh inside this process, submitted at one of its nodes, and
shows how far their makespan is from the shortest that there can be. Tasks sleep,
so that more nodes than cores can be measured; every result is checked.

Usage:
  go run ./bench/assign [flags]

Examples:
  go run ./bench/assign
  go run ./bench/assign --cases even,skew --warmup 2 --repeats 10
  go run ./bench/assign --cases tiny --json

Cases:
%s
Columns:
  submit    from the first submission until the last job is committed
  makespan  from the first submission until the last job is final
  bound     all capacity in use all the time, or the longest task alone
  ratio     makespan over bound
  waited    like makespan, as a waiting caller sees it
  fewest    tasks that a node ran, of all stages; most: the same
  extra     runs of tasks beyond one each
  messages  that all nodes sent each other, calls too, per task
  cpu       processor time of all nodes, in milliseconds a task

Cases alternate: each repeat runs all of them once, on meshes that stay.
The exit status is 1 if any result is wrong, and with --check also if a figure
misses its target.

Flags:
`

func main() {
	node.ServeChild()
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
		fmt.Fprintln(stderr, "assign:", err)
		fmt.Fprintln(stderr, "hint: see: go run ./bench/assign --help")
		return 2
	}
	results, err := measure(ctx, o, stderr)
	if len(results) == 0 {
		fmt.Fprintln(stderr, "assign:", err)
		return 1
	}
	misses := missed(o.list, results)
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = errors.Join(err, e.Encode(report{o.scale, o.thin, o.spin, cores(), results, misses}))
	} else {
		err = errors.Join(err, printReport(stdout, o, results, misses))
	}
	for _, r := range results {
		if !r.Right {
			err = errors.Join(err, fmt.Errorf("%s, run %d: %s", r.Case, r.Run, r.Problem))
		}
	}
	if o.check && len(misses) > 0 {
		err = errors.Join(err, fmt.Errorf("%d targets were missed", len(misses)))
	}
	if err != nil {
		fmt.Fprintln(stderr, "assign:", err)
		return 1
	}
	return 0
}

// parse reads the flags.
func parse(args []string, stderr io.Writer) (options, error) {
	o := options{}
	f := flag.NewFlagSet("assign", flag.ContinueOnError)
	f.SetOutput(io.Discard) // run prints what is wrong
	f.Usage = func() {}
	help := func() {
		f.SetOutput(stderr)
		var cases strings.Builder
		for _, e := range experiments() {
			fmt.Fprintf(&cases, "  %-18s  %s%s\n", e.name, e.what, e.target)
		}
		fmt.Fprintf(stderr, usage, cases.String())
		f.PrintDefaults()
	}
	f.StringVar(&o.cases, "cases", "", "comma-separated `names` of cases (all)")
	f.Float64Var(&o.scale, "scale", 1, "`factor` on the length of all tasks")
	f.IntVar(&o.thin, "thin", 1, "keep every `n`th task only")
	f.BoolVar(&o.spin, "spin", false, "let tasks take a processor each; only fair with a core for each node")
	f.IntVar(&o.warmup, "warmup", 1, "trials of each case that are not counted, at first")
	f.IntVar(&o.repeats, "repeats", 5, "trials of each case, in turn")
	f.DurationVar(&o.limit, "limit", 5*time.Minute, "how long one trial may take")
	f.BoolVar(&o.json, "json", false, "print every trial as JSON")
	f.BoolVar(&o.check, "check", false, "end with status 1 if a figure misses its target")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help()
		}
		return o, err
	}
	return o, o.validate(f.Args())
}

// Bounds of what a run may ask of a machine.
const (
	maxRepeats = 100
	maxScale   = 100
)

// validate refuses what cannot be run, and finds the cases.
func (o *options) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("takes flags only, not %q; see --help", rest[0])
	case o.repeats < 1 || o.repeats > maxRepeats || o.warmup < 0 || o.warmup > maxRepeats:
		return fmt.Errorf("--repeats takes 1 to %d, --warmup 0 to %d", maxRepeats, maxRepeats)
	case o.scale <= 0 || o.scale > maxScale:
		return fmt.Errorf("--scale takes a factor above 0, to %d", maxScale)
	case o.thin < 1 || o.limit <= 0:
		return errors.New("--thin and --limit take values above zero")
	}
	list, err := choose(o.cases)
	if err != nil {
		return err
	}
	for _, e := range list {
		o.list = append(o.list, e.thin(o.thin, o.scale))
	}
	return nil
}
