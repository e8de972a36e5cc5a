package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// runOptions are the flags of run.
type runOptions struct {
	spec                         node.JobSpec
	mapText, reduceText, combine string
	split, memory, log, output   byteSize
	policy                       policyOptions
	out                          output
	detach, json                 bool
}

func newRun(a *app) *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run --map PROG --in PATH|CID",
		Short: "Run a job on the mesh",
		Long: `Run a job on the mesh: cut the inputs into splits, run the map program on each,
and join what comes out.

PROG is x.wasm (a WASI module), x.go (one file, compiled here), exec:COMMAND ARGS
(a native command) or func:NAME (a Go function of an embedding program). It reads
its split on standard input and prints records on standard output; standard error
is the task's log, and a non-zero exit status is a failure: a grep that may find
nothing is exec:grep WORD || [ $? = 1 ]. Existing Hadoop Streaming mappers and reducers
run as they are.

Without --reduce the result is what the maps print, in the order of the inputs.
With it, maps print key<TAB>value lines; each reduce reads the lines of its
partition sorted by key, and the result is the partitions in order. A --combine
program, often the reducer itself, shrinks what one node sends.

The result goes to standard output or --out, progress to standard error. Ctrl-C
leaves the job running; collect it later with: meshnode job result JOB

` + policyHelp + "\n\n" + execWarning,
		Example: `# count words with two scripts, on nodes that allow native commands
meshnode run --map 'exec:python3 m.py' --reduce 'exec:python3 r.py' --file m.py --file r.py --in docs
# the same in Go, sandboxed, in four parts
meshnode run --map m.go --reduce r.go --combine r.go --partitions 4 --in docs --out counts
# start it, and look later, from any node
meshnode run --map m.wasm --in bafybei... --detach
# only on nodes with the label gpu, two slots and 8 GiB a task, ahead of other jobs
meshnode run --map 'exec:python3 fit.py' --file fit.py --in sets --require cpu=2,mem=8G,label=gpu --priority 5
# near the data, with two variables, given up after an hour
meshnode run --map 'exec:sed "s/$FROM/mesh/"' --env FROM=grid --env USER --in logs --strategy locality --expire 1h`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.parse(cmd); err != nil {
				return err
			}
			if err := o.check(); err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			return o.run(cmd.Context(), a, c, cmd.OutOrStdout(), os.Stderr)
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *runOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.mapText, "map", "", "program that reads a split and prints records")
	f.StringVar(&o.reduceText, "reduce", "", "program that reads sorted key<TAB>value lines")
	f.StringVar(&o.combine, "combine", "", "program that shrinks a node's lines before they travel")
	f.StringArrayVar(&o.spec.Inputs, "in", nil, "file, folder or CID to read, may be repeated; a folder means every file under it")
	f.StringArrayVar(&o.spec.Files, "file", nil, "file to lay into each task's folder, may be repeated")
	f.StringVar(&o.out.path, "out", "", "file for the result, or with --partitions a new folder of part-00000, ...")
	f.IntVar(&o.spec.Partitions, "partitions", 0, "parts of the result, one reduce task each (1)")
	f.Var(&o.split, "split", "bytes that one map task reads, like 64MiB (16MiB)")
	f.Var((*period)(&o.spec.Timeout), "timeout", "limit of one task's time (1h)")
	f.Var(&o.memory, "memory", "limit of one task's memory (1GiB, or --require mem= if that is more)")
	f.Var(&o.log, "log-limit", "how much is kept of one task's log (1MiB)")
	f.Var(&o.output, "output-limit", "how much one task may print (4GiB)")
	f.IntVar(&o.spec.Copies, "copies", 0, "nodes that hold the job and its result, or all when fewer live (3)")
	o.policy.flags(cmd)
	f.StringVar(&o.spec.Name, "name", "", "name of the job, for people")
	f.BoolVar(&o.detach, "detach", false, "print the job's ID and return once the mesh has the job")
	jsonFlag(cmd, &o.json)
}

// parse turns flags into a specification; what it refuses is misuse.
func (o *runOptions) parse(cmd *cobra.Command) error {
	o.out.parts = cmd.Flags().Changed("partitions") && o.out.path != ""
	o.spec.Split, o.spec.Memory = int64(o.split), int64(o.memory)
	o.spec.LogLimit, o.spec.Output = int64(o.log), int64(o.output)
	if err := o.checkFlags(cmd); err != nil {
		return misuse(cmd, err)
	}
	if err := o.policy.fill(cmd, &o.spec); err != nil {
		return misuse(cmd, err)
	}
	for _, p := range []struct {
		flag, text string
		set        func(node.ProgramSpec)
	}{
		{"--map", o.mapText, func(s node.ProgramSpec) { o.spec.Map = s }},
		{"--reduce", o.reduceText, func(s node.ProgramSpec) { o.spec.Reduce = &s }},
		{"--combine", o.combine, func(s node.ProgramSpec) { o.spec.Combine = &s }},
	} {
		if p.text == "" {
			continue
		}
		spec, err := parseProgram(p.text)
		if err != nil {
			return hinted(misuse(cmd, fmt.Errorf("%s: %w", p.flag, err)), programForms)
		}
		p.set(spec)
	}
	return nil
}

func (o *runOptions) checkFlags(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	switch s := o.spec; {
	case o.mapText == "":
		return errors.New("what to run? name a program with --map PROG")
	case len(s.Inputs) == 0:
		return errors.New("on what? name a file, a folder or a CID with --in")
	case o.reduceText == "" && (o.combine != "" || changed("partitions")):
		return errors.New("--combine and --partitions need a --reduce")
	case changed("reduce") && o.reduceText == "", changed("combine") && o.combine == "":
		return errors.New("--reduce and --combine take a program, and got nothing")
	case changed("partitions") && (s.Partitions < 1 || s.Partitions > protocol.MaxPartitions):
		return fmt.Errorf("--partitions takes a number from 1 to %d, not %d", protocol.MaxPartitions, s.Partitions)
	case changed("copies") && (s.Copies < 1 || s.Copies > protocol.MaxCopies):
		return fmt.Errorf("--copies takes a number from 1 to %d, not %d", protocol.MaxCopies, s.Copies)
	case changed("timeout") && s.Timeout <= 0:
		return errors.New("--timeout takes a time above zero, like 10m")
	case changed("out") && o.out.path == "":
		return errors.New("--out takes a path, and got nothing")
	case o.detach && o.out.path != "":
		return errors.New("--detach does not wait for a result that --out could take; collect it with: meshnode job result JOB --out PATH")
	}
	return nil
}

// check holds that everything named is there, before anything is sent.
func (o *runOptions) check() error {
	for _, p := range []*node.ProgramSpec{&o.spec.Map, o.spec.Reduce, o.spec.Combine} {
		if err := checkProgram(p); err != nil {
			return err
		}
	}
	for _, path := range o.spec.Files {
		if err := mustBeFile(path); err != nil {
			return err
		}
	}
	for _, in := range o.spec.Inputs {
		if local.IsCID(in) {
			continue
		}
		if err := mustExist(in); err != nil {
			return err
		}
	}
	return o.out.check()
}

// run submits the job and, unless it is detached, sees it through.
func (o *runOptions) run(ctx context.Context, a *app, c *local.Client, stdout io.Writer, stderr *os.File) error {
	show := newDisplay(stderr, "sending")
	job, err := c.Submit(ctx, o.spec, show.moved)
	show.close()
	if err != nil {
		return submitHint(ctx, knownNames(context.WithoutCancel(ctx), c).inError(err))
	}
	o.warnOfCopies(ctx, c, job, stderr)
	if o.detach {
		if o.json {
			return printJSONLine(stdout, struct {
				Job protocol.CID `json:"job"`
			}{job})
		}
		_, err := fmt.Fprintln(stdout, job)
		return err
	}
	st, err := waitFor(ctx, c, job, stderr)
	if err == nil {
		err = o.out.collect(ctx, c, job, stdout, stderr)
	}
	var signal *interruption
	if errors.As(err, &signal) {
		return hinted(err, "the job goes on; collect its result with: "+a.self()+" job result "+job.String())
	}
	if !o.json || !st.Job.Defined() {
		return err
	}
	return o.report(a, st, err, stdout, stderr)
}

// warnOfCopies says when the mesh has too few nodes for the copies that were
// asked for. Whatever else is wrong is left to what follows.
func (o *runOptions) warnOfCopies(ctx context.Context, c *local.Client, job protocol.CID, stderr io.Writer) {
	st, err := c.JobStatus(ctx, job)
	if err != nil || st.Copies < 1 || st.Copies >= st.CopiesWanted {
		return
	}
	fmt.Fprintf(stderr, "meshnode: warning: the job runs with %s instead of %d: no more live nodes of the mesh store\n", copies(st.Copies), st.CopiesWanted)
}

func copies(n int) string {
	if n == 1 {
		return "1 copy"
	}
	return strconv.Itoa(n) + " copies"
}

// report prints the job's status as JSON: the last line of standard error, or
// of standard output when the result went elsewhere.
func (o *runOptions) report(a *app, st node.JobStatus, failed error, stdout io.Writer, stderr *os.File) error {
	printError(stderr, a, failed)
	to := stdout
	if o.out.path == "" {
		to = stderr
	}
	if err := printJSONLine(to, st); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return &printedError{failed}
	}
	return nil
}

// submitHint adds what to do about a job that was not accepted.
func submitHint(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return hinted(err, "the job was not accepted yet; run the command again")
	case errors.Is(err, node.ErrNoCapableNode):
		return hinted(err, incapableHint(err.Error()))
	}
	return err
}

// incapableHint says what can be done about the reasons why no node can run a
// job.
func incapableHint(text string) string {
	var hints []string
	for _, h := range [][2]string{
		{"exec", "native commands run on nodes started with --allow-exec; or use a .wasm or .go program"},
		{"function", "functions run on programs that register them"},
		{"the label", "a label is given with: meshnode start --label; see which node has which with: meshnode peer ls"},
		{"slots", "ask for less with --require cpu=, or start a node with more --slots"},
		{"of memory", "ask for less with --require mem=, or start a node with more --task-memory"},
		{"the role work", "invite a node that may work: meshnode invite --roles work,store"},
	} {
		if strings.Contains(text, h[0]) {
			hints = append(hints, h[1])
		}
	}
	if len(hints) == 0 {
		return "see which nodes live with: meshnode peer ls"
	}
	return strings.Join(hints, "; ")
}

// waitFor shows the job's progress until it has ended. It fails when the job did.
func waitFor(ctx context.Context, c *local.Client, job protocol.CID, stderr *os.File) (node.JobStatus, error) {
	show := newDisplay(stderr, "job")
	show.names = knownNames(ctx, c)
	began := time.Now()
	st, err := c.Wait(ctx, job, show.job)
	if err == nil {
		show.job(st)
	}
	show.close()
	if err != nil && (ctx.Err() != nil || !st.State.Ended()) {
		return st, err
	}
	st.Error = show.names.in(st.Error)
	if err := jobError(st); err != nil {
		return st, err
	}
	fmt.Fprintln(stderr, doneText(st, time.Since(began)))
	return st, nil
}

// jobError is why a job that ended has no result.
func jobError(st node.JobStatus) error {
	what := "job " + st.Job.String()
	if st.Name != "" {
		what += " (" + printable(st.Name) + ")"
	}
	switch st.State {
	case protocol.StateFailed:
		if st.RunUntil != nil && st.Finished != nil && !st.Finished.Before(*st.RunUntil) {
			return hinted(fmt.Errorf("%s failed\n%s", what, st.Error), "submit it again with more time: --expire gives it (24h unless said)")
		}
		return hinted(fmt.Errorf("%s failed\n%s", what, st.Error), "read every task's log with: meshnode job logs "+st.Job.String())
	case protocol.StateCancelled:
		return hinted(fmt.Errorf("%s was cancelled", what), "run it again to get a result")
	}
	return nil
}
