package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func newJobList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the jobs of the mesh",
		Long:    "List the jobs that live members know, newest first.",
		Example: "meshnode job ls\nmeshnode job ls --json | jq -r '.[] | select(.state == \"running\") | .job'",
		Args:    exactly(0, "no arguments"),
		RunE: a.withNode(func(cmd *cobra.Command, _ []string, c *local.Client) error {
			jobs, err := c.Jobs(cmd.Context())
			if err != nil {
				return err
			}
			if !asJSON {
				return printTable(cmd.OutOrStdout(), jobRows(jobs))
			}
			return printJSON(cmd.OutOrStdout(), jobs)
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func jobRows(jobs []node.JobStatus) [][]string {
	rows := [][]string{{"JOB", "NAME", "STATE", "TASKS", "STARTED"}}
	for _, st := range jobs {
		rows = append(rows, []string{
			st.Job.String(), orDash(st.Name), string(st.State), fmt.Sprintf("%d/%d", st.Done, st.Total), formatTime(st.Started),
		})
	}
	return rows
}

func newJobStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status JOB",
		Short: "Show how far a job is",
		Long: `Show how far a job is: its tasks, who runs and ran them, its stewards in rank
order, and why it failed or waits, if it does; and its policy, shards and doubts where
they are not as always. What happened to the job or to one of its tasks is told by:
meshnode job explain JOB [TASK]

A job is pending, running, provisional (the result is there, not all of its copies
are), final, failed or cancelled.`,
		Example: "meshnode job status JOB\nmeshnode job status JOB --json | jq .workers",
		Args:    exactly(1, "one job"),
	}
	cmd.RunE = withJob(a, func(ctx context.Context, c *local.Client, job protocol.CID) error {
		st, err := c.JobStatus(ctx, job)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), st)
		}
		peers, err := c.Peers(ctx)
		if err != nil {
			return err
		}
		return printStatus(cmd, st, namesOf(peers))
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

func printStatus(cmd *cobra.Command, st node.JobStatus, known names) error {
	w := cmd.OutOrStdout()
	if err := printTable(w, jobFacts(st, known)); err != nil {
		return err
	}
	if st.Error != "" {
		_, err := fmt.Fprintf(w, "\n%s\n", strings.TrimRight(known.in(st.Error), "\n"))
		return err
	}
	return nil
}

func jobFacts(st node.JobStatus, known names) [][]string {
	tasks := fmt.Sprintf("%d of %d done, %d running, %d queued; %s", st.Done, st.Total, st.Running, st.Queued, count(st.Executions, "run"))
	rows := [][]string{
		{"job", st.Job.String()}, {"name", orDash(st.Name)}, {"state", string(st.State)}, {"tasks", tasks},
		{"input", formatBytes(st.InputBytes) + ", " + formatBytes(st.BytesDone) + " done"},
		{"copies", copiesText(st)},
		{"submitter", known.of(st.Submitter)},
		{"started", formatTime(st.Started)}, {"finished", formatTime(st.Finished)},
		{"result", orDash(st.Root.String())},
	}
	rows = append(rows, policyFacts(st, known)...)
	if st.Waiting != "" {
		rows = append(rows, []string{"waiting", known.in(st.Waiting)})
	}
	for i, id := range st.Stewards {
		rows = append(rows, []string{"steward " + strconv.Itoa(i), known.of(id)})
	}
	for _, id := range byTasks(st.Workers) {
		rows = append(rows, []string{"worker", known.of(id) + ": " + count(st.Workers[id], "task")})
	}
	return rows
}

// copiesText says with how many copies a job runs, and how many it lacks.
func copiesText(st node.JobStatus) string {
	text := strconv.Itoa(st.Copies)
	if st.Copies < st.CopiesWanted && st.State != protocol.StatePending {
		text += " of " + strconv.Itoa(st.CopiesWanted)
	}
	return text
}

// policyFacts are what is only worth a line when it is not as always.
func policyFacts(st node.JobStatus, known names) [][]string {
	var rows [][]string
	if p := st.Policy; p != (protocol.Policy{}) && p != (protocol.Policy{}).WithDefaults() {
		text := fmt.Sprintf("strategy %s, queue %s", p.Strategy, p.Queue)
		if p.Priority != 0 {
			text += ", priority " + strconv.Itoa(p.Priority)
		}
		rows = append(rows, []string{"policy", text + fmt.Sprintf(", fails when nodes failed a task %d times", p.Retries)})
	}
	if st.Mode != "" {
		rows = append(rows, []string{"mode", string(st.Mode)})
	}
	if need := requirement(st.Require); need.String() != "" {
		rows = append(rows, []string{"requires", need.String()})
	}
	if st.RunUntil != nil && !st.State.Ended() {
		rows = append(rows, []string{"runs until", formatTime(st.RunUntil)})
	}
	if st.Shards > 1 {
		rows = append(rows, []string{"shards", strconv.Itoa(st.Shards)})
	}
	if st.Ambiguous {
		rows = append(rows, []string{"ambiguous", "a task gave different results in different runs; the lowest one counts"})
	}
	for _, id := range st.Distrusted {
		rows = append(rows, []string{"distrusted", known.of(id) + ": outvoted, its results of this job do not count"})
	}
	return rows
}

// byTasks orders workers: who did most comes first.
func byTasks(workers map[peer.ID]int) []peer.ID {
	ids := make([]peer.ID, 0, len(workers))
	for id := range workers {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b peer.ID) int {
		return cmp.Or(cmp.Compare(workers[b], workers[a]), cmp.Compare(a.String(), b.String()))
	})
	return ids
}
