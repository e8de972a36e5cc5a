package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

const (
	// maxTelling is how many events a job's story shows one by one.
	maxTelling = 12
	// maxNamed is how many nodes or tasks a line names.
	maxNamed = 8
)

// job tells the story of a job.
func (t *teller) job() {
	j := t.e.Job
	t.say("job %s is %s: %d of %d tasks done, %s", t.title(), j.State, j.Done, j.Total, count(j.Executions, "run"))
	if len(t.e.Stages) > 0 {
		rows := [][]string{{"STAGE", "TASKS", "DONE", "RUNS", "FAILED"}}
		for _, s := range t.e.Stages {
			rows = append(rows, []string{fmt.Sprintf("%d %s", s.Stage, s.Name), strconv.Itoa(s.Tasks), strconv.Itoa(s.Done), strconv.Itoa(s.Runs), strconv.Itoa(s.Failed)})
		}
		t.gap()
		t.table(rows)
	}
	if len(t.e.Workers) > 0 {
		rows := [][]string{{"WORKER", "RESULTS", "FAILED", "TIME"}}
		for _, w := range t.e.Workers {
			rows = append(rows, []string{t.names.of(w.Peer), strconv.Itoa(w.Runs), strconv.Itoa(w.Failed), formatDuration(w.Took)})
		}
		t.gap()
		t.table(rows)
	}
	if n := repeats(t.e.Stages); n > 0 {
		t.gap()
		t.say("%s of tasks that had a result already, or had had one: of what was lost with a node, or was slow", count(n, "run"))
	}
	t.refusals()
	t.troubles()
}

// repeats is how many runs gave a result beyond one of each task.
func repeats(stages []node.StageShare) int {
	n := 0
	for _, s := range stages {
		n += max(0, s.Runs-s.Failed-s.Done)
	}
	return n
}

// refusals groups who did not take tasks, and why.
func (t *teller) refusals() {
	type group struct {
		why   string
		who   []peer.ID
		times int
	}
	groups := map[string]*group{}
	for _, e := range t.e.Events {
		why := ""
		switch e.Kind {
		case protocol.EventRefused:
			why = t.named(e.Text)
		case protocol.EventFull:
			why = "no room at that time"
		case protocol.EventSilent:
			why = "no answer in time"
		default:
			continue
		}
		g := groups[why]
		if g == nil {
			g = &group{why: why}
			groups[why] = g
		}
		g.times += max(1, e.Times)
		if !slices.Contains(g.who, e.Peer) {
			g.who = append(g.who, e.Peer)
		}
	}
	var sorted []*group
	for _, g := range groups {
		sorted = append(sorted, g)
	}
	slices.SortFunc(sorted, func(a, b *group) int { return cmp.Or(cmp.Compare(b.times, a.times), cmp.Compare(a.why, b.why)) })
	for i, g := range sorted {
		if i == 0 {
			t.gap()
			t.say("offers that were not taken:")
		}
		slices.SortFunc(g.who, func(a, b peer.ID) int { return cmp.Compare(t.names.of(a), t.names.of(b)) })
		t.say("  %s: %s (%s)", g.why, t.some(g.who), times(g.times))
	}
}

// some names the first of several nodes.
func (t *teller) some(ids []peer.ID) string {
	if len(ids) <= maxNamed {
		return t.all(ids)
	}
	return fmt.Sprintf("%s and %d more", t.all(ids[:maxNamed]), len(ids)-maxNamed)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// trouble is a kind of event that went beyond an award and a result.
type trouble struct {
	kind protocol.EventKind
	what string // what happened to the tasks
}

// troublesByWeight lists them, the most telling first.
func troublesByWeight() []trouble {
	return []trouble{
		{protocol.EventFailed, "failed"},
		{protocol.EventResult, "to be computed again: nobody held the result any more"},
		{protocol.EventLost, "lost by a node and offered again"},
		{protocol.EventSpeculate, "offered to a second node for being slow"},
		{protocol.EventSteward, ""},
		{protocol.EventStolen, "stolen by a node that had nothing to do"},
	}
}

// troubles counts what went beyond an award and a result, and shows the most
// telling of it.
func (t *teller) troubles() {
	var telling []node.StoryEvent
	var counted [][]string
	events := foldThefts(t.e.Events)
	for _, kind := range troublesByWeight() {
		tasks := map[string]bool{}
		for _, e := range events {
			if e.Kind != kind.kind {
				continue
			}
			for _, k := range e.Tasks {
				tasks[k] = true
			}
			if len(telling) < maxTelling {
				telling = append(telling, e)
			}
		}
		if len(tasks) > 0 {
			counted = append(counted, []string{count(len(tasks), "task"), kind.what})
		}
	}
	if len(counted) > 0 {
		t.gap()
		t.table(counted)
	}
	if len(telling) == 0 {
		return
	}
	began, what := t.beginning()
	t.gap()
	t.say("what stands out, from %s on, %s:", formatTime(&began), what)
	t.dropped()
	slices.SortStableFunc(telling, func(a, b node.StoryEvent) int { return a.At.Compare(b.At) })
	var rows [][]string
	for _, e := range telling {
		rows = append(rows, []string{since(began, e.At), taskList(e.Tasks), t.event(e)})
	}
	t.table(rows)
	for _, e := range telling {
		if len(e.Tasks) > 0 {
			t.say("all of one task's story: %s job explain %s %s", t.self, t.e.Job.Job, e.Tasks[0])
			return
		}
	}
}

// foldThefts makes one event of all tasks that a node took from another: an
// idle node steals one after the other, and nothing is wrong with that.
func foldThefts(events []node.StoryEvent) []node.StoryEvent {
	var out []node.StoryEvent
	first := map[string]int{}
	for _, e := range events {
		if e.Kind != protocol.EventStolen {
			out = append(out, e)
			continue
		}
		pair := fmt.Sprint(e.Peer, e.Peers)
		i, known := first[pair]
		if !known {
			e.Tasks, e.Times = slices.Clone(e.Tasks), 0
			first[pair] = len(out)
			out = append(out, e)
			continue
		}
		for _, k := range e.Tasks {
			if !slices.Contains(out[i].Tasks, k) {
				out[i].Tasks = append(out[i].Tasks, k)
			}
		}
	}
	return out
}

// taskList names the first of several tasks.
func taskList(tasks []string) string {
	if len(tasks) == 0 {
		return "-"
	}
	if len(tasks) > maxNamed {
		return strings.Join(tasks[:maxNamed], " ") + fmt.Sprintf(" and %d more", len(tasks)-maxNamed)
	}
	return strings.Join(tasks, " ")
}
