package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func newJob(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "job",
		Short: "Look at, wait for, collect and cancel jobs",
		Long: `Look at, wait for, collect and cancel jobs, from any node of the mesh: the
submitter need not live any more. JOB is its ID, the beginning of it, or its name
(run --name), as long as only one job is meant.`,
		Example: `meshnode job ls
meshnode job wait JOB
meshnode job result JOB --out counts.txt
meshnode job explain JOB`,
	}
	cmd.AddCommand(newJobList(a), newJobStatus(a), newJobWait(a), newJobResult(a), newJobLogs(a), newJobExplain(a), newJobCancel(a))
	group(cmd)
	return cmd
}

// jobCall is what a command does with the job that its argument names.
type jobCall func(ctx context.Context, c *local.Client, job protocol.CID) error

// withJob runs call with the running node.
func withJob(a *app, call jobCall) func(*cobra.Command, []string) error {
	return a.withNode(func(cmd *cobra.Command, args []string, c *local.Client) error {
		job, err := findJob(cmd.Context(), c, args[0])
		if err != nil {
			return hinted(err, "list the jobs with: "+a.self()+" job ls")
		}
		return call(cmd.Context(), c, job)
	})
}

// findJob is the job that text means: its ID, the beginning of it, or its name,
// as long as only one job is meant.
func findJob(ctx context.Context, c *local.Client, text string) (protocol.CID, error) {
	if job, err := protocol.ParseCID(text); err == nil {
		return job, nil
	}
	jobs, err := c.Jobs(ctx)
	if err != nil {
		return "", err
	}
	var found []protocol.CID
	for _, st := range jobs {
		if text != "" && (st.Name == text || strings.HasPrefix(st.Job.String(), text)) {
			found = append(found, st.Job)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%q is neither the ID of a job, nor the beginning of one, nor a job's name", text)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%q can be any of %d jobs", text, len(found))
}

func newJobWait(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "wait JOB",
		Short: "Wait until a job has ended",
		Long: `Wait until a job has ended. The exit status is 1 when the job failed or was
cancelled. Ctrl-C ends the waiting, not the job.`,
		Example: "meshnode job wait JOB\nmeshnode job wait JOB && meshnode job result JOB",
		Args:    exactly(1, "one job"),
	}
	cmd.RunE = withJob(a, func(ctx context.Context, c *local.Client, job protocol.CID) error {
		st, err := waitFor(ctx, c, job, os.Stderr)
		var signal *interruption
		if errors.As(err, &signal) {
			return hinted(err, "the job goes on; wait again with: "+a.self()+" job wait "+job.String())
		}
		if asJSON && st.Job.Defined() {
			return errors.Join(err, printJSON(cmd.OutOrStdout(), st))
		}
		return err
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newJobResult(a *app) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "result JOB",
		Short: "Collect a job's result",
		Long: `Collect a job's result: to standard output, to the file --out, or with --parts to
the new folder --out with the files part-00000, part-00001, ...

A file changes only once the whole result is there. A provisional result, whose
copies are not all made yet, is given with a warning.`,
		Example: `meshnode job result JOB
meshnode job result JOB --out counts.txt
meshnode job result JOB --parts --out counts`,
		Args: exactly(1, "one job"),
	}
	collect := withJob(a, func(ctx context.Context, c *local.Client, job protocol.CID) error {
		return out.collect(ctx, c, job, cmd.OutOrStdout(), os.Stderr)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if out.parts && out.path == "" {
			return misuse(cmd, errors.New("--parts makes a folder: name it with --out"))
		}
		if err := out.check(); err != nil {
			return err
		}
		return collect(cmd, args)
	}
	cmd.Flags().StringVar(&out.path, "out", "", "file for the result, or with --parts a new folder")
	cmd.Flags().BoolVar(&out.parts, "parts", false, "a folder of part-00000, part-00001, ... one for each partition")
	return cmd
}

func newJobCancel(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "End a job without a result",
		Long: `End a job without a result. Its submitter may do so, and every member that may
administer the mesh. A job that has its final result stays as it is.`,
		Example: "meshnode job cancel JOB",
		Args:    exactly(1, "one job"),
	}
	cmd.RunE = withJob(a, func(ctx context.Context, c *local.Client, job protocol.CID) error {
		err := c.Cancel(ctx, job)
		if errors.Is(err, node.ErrEnded) {
			return hinted(err, "see how it ended with: "+a.self()+" job status "+job.String())
		}
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "cancelled")
		return nil
	})
	return cmd
}
