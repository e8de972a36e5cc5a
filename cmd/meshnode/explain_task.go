package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// task tells the story of one task.
func (t *teller) task() {
	name := t.e.Task
	for _, s := range t.e.Stages {
		if strings.HasPrefix(t.e.Task, fmt.Sprintf("%d/", s.Stage)) {
			name += " (" + s.Name + ")"
		}
	}
	t.say("task %s of job %s, which is %s", name, t.title(), t.e.Job.State)
	if len(t.e.Events) == 0 {
		t.say("no steward remembers anything of it")
	} else {
		began, what := t.beginning()
		t.say("times count from %s, %s", formatTime(&began), what)
		t.dropped()
		var rows [][]string
		for _, e := range t.e.Events {
			rows = append(rows, []string{since(began, e.At), t.event(e)})
		}
		t.table(rows)
	}
	t.ledger()
}

// title is the job's ID and name.
func (t *teller) title() string {
	if t.e.Job.Name == "" {
		return t.e.Job.Job.String()
	}
	return t.e.Job.Job.String() + " (" + t.e.Job.Name + ")"
}

// beginning is from when times count: the job's start, where it is known. What
// is older shows that clocks differ.
func (t *teller) beginning() (time.Time, string) {
	if s := t.e.Job.Started; s != nil && !s.IsZero() {
		return *s, "when the job began"
	}
	return t.e.Events[0].At, "the first that is remembered"
}

func (t *teller) dropped() {
	if n := t.e.Dropped; n > 0 {
		t.say("%s left out, older than these", countAre(n, "event"))
	}
}

// countAre writes a number, what it counts, and is or are.
func countAre(n int, one string) string {
	if n == 1 {
		return "1 " + one + " is"
	}
	return count(n, one) + " are"
}

// since writes when something happened.
func since(began, at time.Time) string {
	return fmt.Sprintf("%+.3f s", at.Sub(began).Seconds())
}

// event tells one event in words.
func (t *teller) event(e node.StoryEvent) string {
	text := t.deed(e)
	if e.Times > 1 {
		text += fmt.Sprintf(" (%d times)", e.Times)
	}
	return text
}

func (t *teller) deed(e node.StoryEvent) string {
	who, why := t.names.of(e.Peer), t.named(e.Text)
	switch e.Kind {
	case protocol.EventOffered:
		return "offered to " + t.all(e.Peers)
	case protocol.EventBid:
		return t.bid(who, e)
	case protocol.EventRefused:
		return who + " refused" + because(why)
	case protocol.EventFull:
		return who + " has no room now"
	case protocol.EventSilent:
		return who + " did not answer in time"
	case protocol.EventAwarded:
		return "awarded to " + who
	case protocol.EventStarted:
		return "started on " + who
	case protocol.EventStolen:
		return "stolen by " + who + " from " + t.all(e.Peers)
	case protocol.EventLost:
		return "lost on " + who + because(why)
	case protocol.EventSpeculate:
		return "offered again beside " + who + because(why)
	case protocol.EventReleased:
		return who + " was told that it is done elsewhere"
	case protocol.EventDone:
		return "done by " + who + " in " + formatDuration(e.Took)
	case protocol.EventFailed:
		return "failed on " + who + because(why)
	case protocol.EventResult:
		return "nobody holds its result any more: it runs again" + because(why)
	case protocol.EventSteward:
		return "steward " + who + " " + why
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Kind, who, why)) // of a newer version
}

func (t *teller) bid(who string, e node.StoryEvent) string {
	when := who + " would begin at once"
	if e.Took > 0 {
		when = who + " would begin in " + formatDuration(e.Took)
	}
	if e.Room > 1 {
		when += ", and take up to " + count(e.Room, "task")
	}
	return when
}

// because puts a reason behind what it explains.
func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// ledger tells of runs that have ended and that the story does not: whoever was
// told of them may have been restarted since.
func (t *teller) ledger() {
	remembered := map[string]int{}
	for _, e := range t.e.Events {
		if e.Kind == protocol.EventDone || e.Kind == protocol.EventFailed {
			remembered[fmt.Sprint(e.Peer, e.Kind == protocol.EventFailed)]++
		}
	}
	for _, r := range t.e.Runs {
		key := fmt.Sprint(r.Peer, r.Failed != "")
		if remembered[key]--; remembered[key] >= 0 {
			continue
		}
		if r.Failed != "" {
			t.say("the ledger also has a run that failed on %s: %s", t.names.of(r.Peer), r.Failed)
			continue
		}
		t.say("the ledger also has a run by %s, in %s", t.names.of(r.Peer), formatDuration(r.Took))
	}
}
