package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func newJobLogs(a *app) *cobra.Command {
	var task string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "logs JOB",
		Short: "Print what a job's tasks wrote to standard error",
		Long: `Print what a job's tasks wrote to standard error, run by run, in the order of the
tasks; failed runs too, and a run's log once it has ended. With --json, one object a
line.`,
		Example: "meshnode job logs JOB\nmeshnode job logs JOB --task 0/12",
		Args:    exactly(1, "one job"),
	}
	print := withJob(a, func(ctx context.Context, c *local.Client, job protocol.CID) error {
		return printLogs(ctx, c, job, logPrinter{w: cmd.OutOrStdout(), note: cmd.ErrOrStderr(), task: task, json: asJSON})
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if task != "" && !taskForm.MatchString(task) {
			return misuse(cmd, fmt.Errorf("--task takes a stage and an index like 0/12, not %q", task))
		}
		return print(cmd, args)
	}
	cmd.Flags().StringVar(&task, "task", "", "only this task: STAGE/INDEX, like 0/12")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// logPrinter prints log entries.
type logPrinter struct {
	w     io.Writer
	task  string // "" is all
	json  bool
	names names
	note  io.Writer // for what is no log
}

func printLogs(ctx context.Context, c *local.Client, job protocol.CID, p logPrinter) error {
	peers, err := c.Peers(ctx)
	if err != nil {
		return err
	}
	p.names = namesOf(peers)
	printed := 0
	err = c.Logs(ctx, job, func(e node.LogEntry) error {
		if !p.wants(e) {
			return nil
		}
		printed++
		return p.print(e)
	})
	if err == nil && printed == 0 && p.task != "" {
		return fmt.Errorf("no run of the task %s has ended", p.task)
	}
	if err == nil && printed == 0 {
		_, err = fmt.Fprintln(p.note, "no run of a task has ended yet; a log is there once its run has")
	}
	return err
}

// wants accepts a task by its stage's number and by its name.
func (p logPrinter) wants(e node.LogEntry) bool {
	_, index, _ := strings.Cut(e.Task, "/")
	return p.task == "" || p.task == e.Task || p.task == e.Stage+"/"+index
}

func (p logPrinter) print(e node.LogEntry) error {
	if p.json {
		return printJSONLine(p.w, e)
	}
	head := fmt.Sprintf("== task %s (%s) on %s, %s", e.Task, printable(e.Stage), p.names.of(e.Worker), formatDuration(e.Took))
	if e.Failed != "" {
		head += ", failed: " + printable(e.Failed)
	}
	if _, err := fmt.Fprintln(p.w, head); err != nil {
		return err
	}
	text := e.Log
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	_, err := io.WriteString(p.w, text)
	return err
}
