package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// maxExplained bounds the events of one explanation: as many as four
	// stewards remember.
	maxExplained = 4 * protocol.MaxStory
	// seenWithin is how far apart two stewards notice the same thing: what a
	// ping tells within its time to live, what a receipt does with the next
	// digests.
	seenWithin = 2 * protocol.DigestEvery
)

// told is what one steward tells.
type told struct {
	by     peer.ID
	events []protocol.Event
	now    *protocol.Now
}

// joinStories joins what stewards tell into one story in the order of time.
// What several of them saw is told once. Dropped counts the oldest events that
// found no room.
func joinStories(all []told) (events []StoryEvent, dropped int) {
	for _, t := range all {
		for _, e := range t.events {
			if credible(e) {
				events = append(events, storyEvent(t.by, e))
			}
		}
	}
	slices.SortStableFunc(events, func(a, b StoryEvent) int { return a.At.Compare(b.At) })
	w := witnesses{last: map[string]int{}, runs: map[string]bool{}}
	for _, e := range events {
		w.hear(e)
	}
	events = w.story
	if dropped = max(0, len(events)-maxExplained); dropped > 0 {
		events = slices.Clone(events[dropped:])
	}
	return events, dropped
}

// credible holds an event that a peer tells to its bounds: it is shown to
// people and programs.
func credible(e protocol.Event) bool {
	for _, id := range append([]peer.ID{e.Peer}, e.Peers...) {
		if !isPeerID(id) {
			return false
		}
	}
	return len(e.Peers) <= protocol.MaxSources && len(e.Tasks) <= protocol.MaxClaims && len(e.Kind) <= protocol.MaxName &&
		len(e.Text) <= protocol.MaxText && e.Took >= 0 && e.Room >= 0 && e.Times >= 0
}

// isPeerID reports whether id is empty or would survive being written as text.
func isPeerID(id peer.ID) bool {
	if id == "" {
		return true
	}
	_, err := peer.IDFromBytes([]byte(id))
	return err == nil
}

func storyEvent(by peer.ID, e protocol.Event) StoryEvent {
	out := StoryEvent{At: e.At.UTC(), Kind: e.Kind, Peer: e.Peer, Peers: e.Peers, Took: e.Took, Room: e.Room, Text: e.Text, Times: e.Times, By: by}
	for _, k := range e.Tasks {
		out.Tasks = append(out.Tasks, k.String())
	}
	return out
}

// witnesses are several stewards' accounts that become one.
type witnesses struct {
	story []StoryEvent
	last  map[string]int  // by what it says: where an event was told last
	runs  map[string]bool // by task and node: began, and is not known to have ended
}

// hear adds e, unless it was told already: by the same words at the same time,
// by another steward that saw the same, or as the beginning of a run that is
// under way. What each of two stewards counted is not twice as much. Events come
// in the order of time.
func (w *witnesses) hear(e StoryEvent) {
	what := wording(e)
	if i, told := w.last[what]; told {
		before := &w.story[i]
		if before.At.Equal(e.At) || before.By != e.By && e.At.Sub(before.At) <= seenWithin {
			before.Times = max(before.Times, e.Times)
			return
		}
	}
	if w.under(e) {
		return
	}
	w.last[what] = len(w.story)
	w.story = append(w.story, e)
}

// under follows the runs, and reports whether e is the beginning of one that is
// under way: a steward that takes over hears of it then only.
func (w *witnesses) under(e StoryEvent) bool {
	who := e.Peer
	switch e.Kind {
	case protocol.EventStolen:
		who = append(e.Peers, "")[0]
	case protocol.EventStarted, protocol.EventAwarded, protocol.EventLost, protocol.EventFailed:
	default:
		return false
	}
	known := len(e.Tasks) > 0
	for _, task := range e.Tasks {
		run := task + " " + string(who)
		known = known && w.runs[run]
		w.runs[run] = e.Kind == protocol.EventStarted
	}
	return known && e.Kind == protocol.EventStarted
}

// wording is what an event says, whoever tells it, when and how often.
func wording(e StoryEvent) string {
	return string(protocol.Encode(struct {
		_     struct{} `cbor:",toarray"`
		Kind  protocol.EventKind
		Tasks []string
		Peer  peer.ID
		Peers []peer.ID
		Took  time.Duration
		Text  string
	}{Kind: e.Kind, Tasks: e.Tasks, Peer: e.Peer, Peers: e.Peers, Took: e.Took, Text: e.Text}))
}

// pickNow chooses among what stewards say keeps a task or job now: that it is
// done, and else what the first of them in rank order says. Whoever acts knows
// best, and that is the first that lives.
func pickNow(all []told) (NowState, bool) {
	var first *protocol.Now
	for _, t := range all {
		switch {
		case t.now == nil || len(t.now.Text) > protocol.MaxText || len(t.now.State) > protocol.MaxName:
		case t.now.State == "done":
			return NowState{t.now.State, t.now.Text}, true
		case first == nil:
			first = t.now
		}
	}
	if first == nil {
		return NowState{}, false
	}
	return NowState{first.State, first.Text}, true
}

// shares counts a job's runs by stage and by worker.
func shares(m *protocol.Manifest, runs []protocol.TaskRun) ([]StageShare, []WorkerShare) {
	stages := make([]StageShare, len(m.Stages))
	done := map[protocol.Key]bool{}
	for i, s := range m.Stages {
		stages[i] = StageShare{Stage: i, Name: s.Name, Kind: s.Kind, Tasks: s.Tasks}
	}
	by := map[peer.ID]WorkerShare{}
	for _, r := range runs {
		if !hasTask(m, r.Task) || r.Worker == "" || !isPeerID(r.Worker) {
			continue // what no honest steward lists
		}
		s, w := &stages[r.Task.Stage], by[r.Worker]
		w.Peer, w.Took, s.Runs = r.Worker, w.Took+r.Took, s.Runs+1
		if r.Failed != "" {
			s.Failed, w.Failed = s.Failed+1, w.Failed+1
		} else {
			w.Runs++
			if !done[r.Task] {
				done[r.Task], s.Done = true, s.Done+1
			}
		}
		by[r.Worker] = w
	}
	workers := make([]WorkerShare, 0, len(by))
	for _, w := range by {
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b WorkerShare) int {
		return cmp.Or(cmp.Compare(b.Runs, a.Runs), cmp.Compare(a.Peer, b.Peer))
	})
	return stages, workers
}

// runsOf are the runs of one task.
func runsOf(task protocol.Key, runs []protocol.TaskRun) []RunShare {
	out := []RunShare{}
	for _, r := range runs {
		if r.Task == task && isPeerID(r.Worker) {
			out = append(out, RunShare{Peer: r.Worker, Took: r.Took, Failed: r.Failed})
		}
	}
	return out
}
