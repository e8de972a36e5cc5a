package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/examples/wordcount"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/testnet"
)

// What the demo does.
const (
	demoVictims = 10      // nodes killed while the job runs
	demoSplit   = 1 << 20 // bytes that one map task reads
	demoKillAt  = 20      // percent of the tasks done when the killing begins
	demoTop     = 20      // words shown
	// demoHolders is how many holders of the input may die: one less than the
	// copies there are.
	demoHolders = protocol.DefaultCopies - 1
)

// demoOptions are the flags of demo.
type demoOptions struct {
	input string
	nodes int
}

func newDemo(a *app) *cobra.Command {
	o := &demoOptions{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Count words on 50 nodes while ten of them die",
		Long: `Count the words of the Go source tree, or of --in FOLDER, on 50 nodes in this
process: real nodes on loopback sockets, which all go away at the end. While the
job runs, ten of the nodes are killed without a word: the one that submitted it,
one of the stewards that look after it, and eight others. The result is compared,
byte for byte, with a count by one goroutine; the exit status is 1 if they differ.`,
		Example: `meshnode demo
meshnode demo --in /usr/share/doc --nodes 20`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.nodes < demoVictims+5 || o.nodes > testnet.MaxNodes {
				return misuse(cmd, fmt.Errorf("--nodes takes a number from %d, so that enough are left, to %d", demoVictims+5, testnet.MaxNodes))
			}
			return runDemo(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&o.input, "in", "", "folder whose words are counted (the Go source tree)")
	cmd.Flags().IntVar(&o.nodes, "nodes", 50, "how many nodes")
	return cmd
}

// demo is one run of the demo.
type demo struct {
	out     io.Writer
	began   time.Time
	net     *testnet.Net
	folder  string
	files   []string
	faults  *faultCounter
	job     protocol.CID
	holders []peer.ID // of the input, when the killing began
	killed  []int
}

func runDemo(ctx context.Context, o *demoOptions, out io.Writer) error {
	folder, err := sourceTree(o.input)
	if err != nil {
		return err
	}
	d := &demo{out: out, began: time.Now(), folder: folder, faults: newFaultCounter()}
	if err := d.listFiles(); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "meshnode-demo-")
	if err != nil {
		return fmt.Errorf("making the demo's folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	d.say("starting %d nodes in this process", o.nodes)
	d.net, err = testnet.Start(ctx, testnet.Config{
		Nodes: o.nodes, Dir: filepath.Join(scratch, "nodes"),
		Logger: func(int) *slog.Logger { return slog.New(d.faults) },
	})
	if err != nil {
		return err
	}
	err = d.run(ctx, scratch)
	return errors.Join(err, d.net.Close())
}

// say prints one line of what happens, and when.
func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1fs  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context, scratch string) error {
	d.say("%d nodes are up, and each knows all others", d.net.Len())
	submitter := d.net.Len() / 2
	d.say("node %s imports %s and submits the job", d.name(submitter), d.folder)
	if err := d.submit(ctx, d.net.Node(submitter), scratch); err != nil {
		return err
	}
	final, err := d.watch(ctx, submitter)
	if err != nil {
		return err
	}
	if final.State != protocol.StateFinal {
		return fmt.Errorf("the job ended %s: %s", final.State, final.Error)
	}
	reader := d.net.Node(d.net.Alive()[len(d.net.Alive())-1])
	var result bytes.Buffer
	if _, err := reader.Result(ctx, d.job, &result); err != nil {
		return err
	}
	d.say("the job is final; node %s, which had no part in submitting it, fetched the result", reader.Status().Name)
	d.report(final, result.Bytes())
	return d.compare(result.Bytes())
}

func (d *demo) name(i int) string { return d.net.Node(i).Status().Name }

// submit submits the word count.
func (d *demo) submit(ctx context.Context, n *node.Node, scratch string) error {
	mapper, reducer := filepath.Join(scratch, "map.wasm"), filepath.Join(scratch, "reduce.wasm")
	if err := errors.Join(os.WriteFile(mapper, wordcount.MapModule(), 0o600), os.WriteFile(reducer, wordcount.ReduceModule(), 0o600)); err != nil {
		return err
	}
	reduce := &node.ProgramSpec{Kind: protocol.Wasm, Path: reducer}
	job, err := n.Submit(ctx, node.JobSpec{
		Name: "wordcount", Map: node.ProgramSpec{Kind: protocol.Wasm, Path: mapper}, Reduce: reduce, Combine: reduce,
		Inputs: []string{d.folder}, Split: demoSplit,
	}, nil)
	if err != nil {
		return fmt.Errorf("submitting the job: %w", err)
	}
	d.job = job
	st, err := n.JobStatus(ctx, job)
	if err != nil {
		return err
	}
	d.say("job %s is committed: %s of input, %d tasks, %d copies of everything it needs", job, formatBytes(st.InputBytes), st.Total, st.Copies)
	d.say("its stewards are %s", d.names(st.Stewards))
	return nil
}

// watch follows the job from a node that stays, and kills others on the way.
func (d *demo) watch(ctx context.Context, submitter int) (node.JobStatus, error) {
	st, err := d.net.Node(submitter).JobStatus(ctx, d.job)
	if err != nil {
		return st, err
	}
	victims, err := d.chooseVictims(ctx, submitter, st)
	if err != nil {
		return st, err
	}
	var killErr error
	shown := -1
	observer := d.net.Node(d.survivor(victims))
	final, err := observer.Wait(ctx, d.job, func(st node.JobStatus) {
		percent := st.Done * 100 / max(1, st.Total)
		if percent/10 != shown/10 || shown < 0 {
			shown = percent
			d.say("%3d of %d tasks done, %d running, %d queued, %d workers", st.Done, st.Total, st.Running, st.Queued, len(st.Workers))
		}
		if percent >= demoKillAt && len(d.killed) == 0 && !st.State.Ended() {
			d.kill(victims, submitter, st)
		}
	})
	if err == nil && len(d.killed) == 0 {
		killErr = errors.New("the job ended before a node could be killed; give the demo more to do with --in FOLDER")
	}
	return final, errors.Join(err, killErr)
}

func (d *demo) survivor(victims []int) int {
	for i := range d.net.Len() {
		if !slices.Contains(victims, i) {
			return i
		}
	}
	return -1
}

// chooseVictims picks the nodes to kill: the submitter, one steward, and
// others, so few holders of the input and of the job's ledger among them that a
// copy of each is left.
func (d *demo) chooseVictims(ctx context.Context, submitter int, st node.JobStatus) ([]int, error) {
	victims := []int{submitter}
	if d.net.Node(submitter).ID() != st.Stewards[0] {
		victims = append(victims, d.net.Index(st.Stewards[0]))
	}
	if len(st.Stewards) < protocol.DefaultCopies {
		return nil, fmt.Errorf("the job has %d stewards, too few to kill one", len(st.Stewards))
	}
	d.holders = d.net.Node(submitter).Holders(ctx, d.inputRoot(ctx, submitter))
	for i := 0; i < d.net.Len() && len(victims) < demoVictims; i++ {
		id := d.net.Node(i).ID()
		if !slices.Contains(victims, i) && !slices.Contains(st.Stewards, id) && !slices.Contains(d.holders, id) {
			victims = append(victims, i)
		}
	}
	dying := 0
	for _, i := range victims {
		if slices.Contains(d.holders, d.net.Node(i).ID()) {
			dying++
		}
	}
	if dying > demoHolders || len(victims) < demoVictims {
		return nil, fmt.Errorf("%d of %d holders of the input would die", dying, len(d.holders))
	}
	return victims, nil
}

// inputRoot is the CID of the input, which the submitter holds: adding it
// again changes nothing.
func (d *demo) inputRoot(ctx context.Context, submitter int) protocol.CID {
	inputs, err := d.net.Node(submitter).JobInputs(ctx, d.job)
	if err != nil || len(inputs) == 0 {
		return ""
	}
	return inputs[0]
}

// kill kills the victims, all at once.
func (d *demo) kill(victims []int, submitter int, st node.JobStatus) {
	d.killed = victims
	d.say("killing %d nodes without a word:", len(victims))
	for _, i := range victims {
		id, what := d.net.Node(i).ID(), ""
		if i == submitter {
			what += ", the submitter"
		}
		if slices.Contains(st.Stewards, id) {
			what += ", a steward of the job"
		}
		if slices.Contains(d.holders, id) {
			what += ", a holder of the input"
		}
		fmt.Fprintf(d.out, "           %s%s\n", d.name(i), what)
	}
	for _, i := range victims {
		go d.net.Kill(i)
	}
}
