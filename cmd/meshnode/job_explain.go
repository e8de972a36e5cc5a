package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
)

func newJobExplain(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain JOB [TASK]",
		Short: "Tell what happened to a job or a task, and what keeps it",
		Long: `Tell in plain words what happened to a job, or to one of its tasks, and what keeps
it now. TASK is STAGE/INDEX, like 0/17 or map/17.

A task is offered to a few nodes by one of the job's stewards; they say when they would
begin, and it is awarded to one. A node with nothing to do may steal it while it waits
there. When its node is gone, it is lost and offered again.

Of a task: where it was offered, who would begin when, who refused and why, who ran
it, and whether it was stolen, lost, or run a second time because it was slow. Of a
job: its stages, who did how much, who refuses its tasks and why, and the most telling
of what happened. The last line says how it stands.

This is what the job's stewards remember. They keep the last few thousand events of a
job, in memory: one that was restarted has forgotten what came before. A time is when a
steward heard of it, which for the start of a task may be a second late.`,
		Example: "meshnode job explain JOB\nmeshnode job explain JOB 0/17\nmeshnode job explain JOB reduce/3 --json | jq .now",
		Args:    jobAndTask,
	}
	cmd.RunE = a.withNode(func(cmd *cobra.Command, args []string, c *local.Client) error {
		job, err := findJob(cmd.Context(), c, args[0])
		if err != nil {
			return hinted(err, "list the jobs with: "+a.self()+" job ls")
		}
		e, err := c.Explain(cmd.Context(), job, strings.Join(args[1:], ""))
		if errors.Is(err, node.ErrUnknownTask) {
			return hinted(err, "see the job's stages with: "+a.self()+" job explain "+job.String())
		}
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), e)
		}
		peers, err := c.Peers(cmd.Context())
		if err != nil {
			return err
		}
		t := teller{e: e, names: namesOf(peers), self: a.self()}
		_, err = cmd.OutOrStdout().Write([]byte(t.text()))
		return err
	})
	jsonFlag(cmd, &asJSON)
	return cmd
}

// taskForm is how a task is named.
var taskForm = regexp.MustCompile(`^[\w-]+/[0-9]+$`)

// jobAndTask accepts a job and perhaps a task.
func jobAndTask(cmd *cobra.Command, args []string) error {
	if len(args) < 1 || len(args) > 2 {
		return fmt.Errorf("%s takes a job and perhaps a task, not %s", cmd.CommandPath(), count(len(args), "argument"))
	}
	if len(args) == 2 && !taskForm.MatchString(args[1]) {
		return fmt.Errorf("a task is a stage and an index like 0/17 or map/17, not %q", args[1])
	}
	return nil
}

// teller tells an explanation to people.
type teller struct {
	e     node.Explanation
	names names
	self  string // how this command line is begun
	out   strings.Builder
}

func (t *teller) text() string {
	if t.e.Task != "" {
		t.task()
	} else {
		t.job()
	}
	t.now()
	return t.out.String()
}

// say writes one line.
func (t *teller) say(format string, args ...any) {
	t.out.WriteString(printable(fmt.Sprintf(format, args...)) + "\n")
}

// gap writes an empty line.
func (t *teller) gap() { t.out.WriteString("\n") }

// table writes aligned rows.
func (t *teller) table(rows [][]string) {
	_ = printTable(&t.out, rows) // a strings.Builder takes everything
}

// all names several nodes.
func (t *teller) all(ids []peer.ID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = t.names.of(id)
	}
	return strings.Join(texts, ", ")
}

// named puts names in the place of IDs.
func (t *teller) named(text string) string { return t.names.in(text) }

// now says how it stands, and why.
func (t *teller) now() {
	state, text := t.e.Now.State, t.named(strings.TrimSpace(t.e.Now.Text))
	place := regexp.MustCompile(`^(on|to|by) `).MatchString(text)
	switch {
	case state == "" && text == "":
		state = "no steward says"
	case text != "" && place:
		state += " " + text
	case text != "":
		state += ": " + text
	}
	if len(t.e.Silent) > 0 {
		t.gap()
		t.say("no answer from: %s, so their part of the story is missing", t.all(t.e.Silent))
	}
	t.gap()
	t.say("Now: %s", state)
}
