package main

import (
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// stories are what the scripted node tells of its job: of the job as a whole,
// of a task with everything that can happen to one, of one that was done before
// anybody remembers, and of one that waits.
func stories(a, b peer.ID, running, ended node.JobStatus) map[string]node.Explanation {
	c, d := peer.ID(""), peer.ID("")
	for id, text := range map[*peer.ID]string{
		&c: "12D3KooWGzh2EJ4AAmoGBSoBfyYQ4xrYEPjMPPmeQGVzSFRwHnN6", &d: "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
	} {
		decoded, err := peer.Decode(text)
		if err != nil {
			panic(err)
		}
		*id = decoded
	}
	began := *running.Started
	at := func(ms int, e node.StoryEvent) node.StoryEvent {
		e.At = began.Add(time.Duration(ms) * time.Millisecond)
		if e.Kind != protocol.EventSteward {
			e.Tasks = []string{"0/1"}
		}
		return e
	}
	const refusal = "it does not allow exec (start it with --allow-exec)"
	full := []node.StoryEvent{
		at(-1, node.StoryEvent{Kind: protocol.EventSteward, Peer: a, Text: "offers the tasks from now on"}),
		at(120, node.StoryEvent{Kind: protocol.EventOffered, Peers: []peer.ID{a, b, c, d}}),
		at(121, node.StoryEvent{Kind: protocol.EventBid, Peer: b, Took: 30 * time.Millisecond, Room: 4}),
		at(121, node.StoryEvent{Kind: protocol.EventRefused, Peer: c, Text: refusal, Times: 3}),
		at(122, node.StoryEvent{Kind: protocol.EventFull, Peer: d}),
		at(300, node.StoryEvent{Kind: protocol.EventSilent, Peer: a}),
		at(300, node.StoryEvent{Kind: protocol.EventAwarded, Peer: b}),
		at(350, node.StoryEvent{Kind: protocol.EventStolen, Peer: d, Peers: []peer.ID{b}}),
		at(360, node.StoryEvent{Kind: protocol.EventStarted, Peer: d}),
		at(2500, node.StoryEvent{Kind: protocol.EventLost, Peer: d, Text: "its node fell silent"}),
		at(2600, node.StoryEvent{Kind: protocol.EventBid, Peer: a}),
		at(2600, node.StoryEvent{Kind: protocol.EventFailed, Peer: a, Text: "exit status 3\x1b[31m"}),
		at(3000, node.StoryEvent{Kind: protocol.EventSpeculate, Peer: a, Text: "it runs for 2 s; 95 % took less than 0.4 s"}),
		at(3600, node.StoryEvent{Kind: protocol.EventDone, Peer: b, Took: 600 * time.Millisecond}),
		at(3601, node.StoryEvent{Kind: protocol.EventReleased, Peer: a}),
		at(4000, node.StoryEvent{Kind: protocol.EventResult}),
		at(4001, node.StoryEvent{Kind: "postponed", Peer: a, Text: "until later"}),
	}
	stages := []node.StageShare{
		{Stage: 0, Name: "map", Kind: protocol.MapStage, Tasks: 2, Done: 1, Runs: 3, Failed: 1},
		{Stage: 1, Name: "concat", Kind: protocol.ConcatStage, Tasks: 1},
	}
	return map[string]node.Explanation{
		"": {Job: running, Stages: stages, Events: full, Dropped: 2, Told: []peer.ID{a}, Silent: []peer.ID{b},
			Workers: []node.WorkerShare{{Peer: a, Runs: 1, Failed: 1, Took: 1500 * time.Millisecond}, {Peer: d, Runs: 1, Took: time.Second}},
			Now:     node.NowState{State: "waiting", Text: "no live node allows exec"}},
		"0/1": {Job: running, Task: "0/1", Stages: stages, Events: full, Now: node.NowState{State: "running", Text: "on " + b.String() + " for 2.1s"},
			Runs: []node.RunShare{{Peer: b, Took: 600 * time.Millisecond}, {Peer: a, Took: time.Second, Failed: "exit status 3"}}},
		"0/0": {Job: ended, Task: "0/0", Stages: stages, Now: node.NowState{State: "done", Text: "by " + a.String()},
			Runs: []node.RunShare{{Peer: a, Took: time.Second, Failed: "exit status 3"}, {Peer: a, Took: 2 * time.Second}}},
		"1/0": {Job: running, Task: "1/0", Stages: stages, Silent: []peer.ID{a, b}},
	}
}

// TestTheftsAreFolded: what one node took from another is one event, with all
// of the tasks, and what is no theft stays.
func TestTheftsAreFolded(t *testing.T) {
	theft := func(thief, victim peer.ID, task string) node.StoryEvent {
		return node.StoryEvent{Kind: protocol.EventStolen, Peer: thief, Peers: []peer.ID{victim}, Tasks: []string{task}, Times: 2}
	}
	lost := node.StoryEvent{Kind: protocol.EventLost, Peer: "a", Tasks: []string{"0/9"}}
	got := foldThefts([]node.StoryEvent{theft("a", "b", "0/1"), lost, theft("a", "b", "0/2"), theft("b", "a", "0/3"), lost, theft("a", "b", "0/1")})
	if len(got) != 4 || !slices.Equal(got[0].Tasks, []string{"0/1", "0/2"}) || got[0].Times != 0 || !slices.Equal(got[2].Tasks, []string{"0/3"}) {
		t.Errorf("got %+v", got)
	}
}
