package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/test"

	"github.com/meshnode/meshnode/protocol"
)

func somePeers(t *testing.T, n int) []peer.ID {
	t.Helper()
	out := make([]peer.ID, n)
	for i := range out {
		id, err := test.RandPeerID()
		if err != nil {
			t.Fatal(err)
		}
		out[i] = id
	}
	return out
}

// TestStoriesAreJoined: in the order of time, what several stewards saw once,
// and what one steward saw twice, twice.
func TestStoriesAreJoined(t *testing.T) {
	ids := somePeers(t, 4)
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	task := []protocol.Key{{Stage: 0, Index: 3}}
	lost := func(ms int) protocol.Event {
		return protocol.Event{At: at(ms), Kind: protocol.EventLost, Tasks: task, Peer: ids[2], Text: "its node fell silent"}
	}
	first := []protocol.Event{
		{At: at(0), Kind: protocol.EventOffered, Tasks: task, Peers: ids[2:]},
		lost(2000), lost(9000),
		{At: at(9500), Kind: protocol.EventDone, Tasks: task, Peer: ids[3], Took: time.Second},
	}
	second := []protocol.Event{
		lost(2100),
		first[3], // the same, to the nanosecond
		{At: at(9600), Kind: protocol.EventDone, Tasks: task, Peer: ids[3], Took: time.Second},
		{At: at(9700), Kind: protocol.EventDone, Tasks: task, Peer: ids[3], Took: 2 * time.Second},
		lost(50_000),
	}
	events, dropped := joinStories([]told{{by: ids[0], events: first}, {by: ids[1], events: second}})
	var got []string
	for _, e := range events {
		got = append(got, e.At.Sub(at(0)).String()+" "+string(e.Kind))
	}
	want := []string{"0s offered", "2s lost", "9s lost", "9.5s done", "9.7s done", "50s lost"}
	if !slices.Equal(got, want) || dropped != 0 {
		t.Errorf("got %q and %d dropped, want %q", got, dropped, want)
	}
	if events[0].By != ids[0] || events[5].By != ids[1] || events[1].Tasks[0] != "0/3" {
		t.Errorf("got %+v", events)
	}
}

// TestStoriesDoNotAddUp: what each of two stewards counted happened as often as
// the one says that saw more, and a run begins once, whoever hears of it when.
func TestStoriesDoNotAddUp(t *testing.T) {
	ids := somePeers(t, 3)
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	task := []protocol.Key{{Stage: 0, Index: 3}}
	started := func(s int) protocol.Event {
		return protocol.Event{At: at(s), Kind: protocol.EventStarted, Tasks: task, Peer: ids[2]}
	}
	refused := func(s, times int) protocol.Event {
		return protocol.Event{At: at(s), Kind: protocol.EventRefused, Tasks: task, Peer: ids[2], Text: "no", Times: times}
	}
	first := []protocol.Event{
		refused(0, 2), started(1),
		{At: at(50), Kind: protocol.EventLost, Tasks: task, Peer: ids[2]},
		started(51),
	}
	second := []protocol.Event{refused(1, 3), started(40), started(80)}
	events, _ := joinStories([]told{{by: ids[0], events: first}, {by: ids[1], events: second}})
	var got []string
	for _, e := range events {
		got = append(got, e.At.Sub(at(0)).String()+" "+string(e.Kind))
	}
	if want := []string{"0s refused", "1s started", "50s lost", "51s started"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if events[0].Times != 3 {
		t.Errorf("refused %d times, want 3", events[0].Times)
	}
}

// TestStoriesAreBounded: what a steward makes up neither breaks the story nor
// fills it beyond its bound.
func TestStoriesAreBounded(t *testing.T) {
	ids := somePeers(t, 2)
	bad := []protocol.Event{
		{Kind: protocol.EventLost, Peer: "not a peer ID"},
		{Kind: protocol.EventOffered, Peers: []peer.ID{ids[0], "neither"}},
		{Kind: protocol.EventRefused, Peer: ids[0], Text: strings.Repeat("x", protocol.MaxText+1)},
		{Kind: protocol.EventOffered, Peers: slices.Repeat(ids, protocol.MaxSources)},
		{Kind: protocol.EventDone, Peer: ids[0], Took: -1},
	}
	if events, _ := joinStories([]told{{by: ids[0], events: bad}}); len(events) != 0 {
		t.Errorf("kept %+v", events)
	}
	var many []protocol.Event
	for i := range maxExplained + 5 {
		many = append(many, protocol.Event{At: time.Unix(int64(i), 0), Kind: protocol.EventLost, Peer: ids[0]})
	}
	events, dropped := joinStories([]told{{by: ids[0], events: many}})
	if len(events) != maxExplained || dropped != 5 || !events[0].At.Equal(time.Unix(5, 0)) {
		t.Errorf("kept %d, dropped %d", len(events), dropped)
	}
}

func TestNowIsPicked(t *testing.T) {
	queued, done := &protocol.Now{State: "queued", Text: "on a"}, &protocol.Now{State: "done", Text: "by b"}
	for _, c := range []struct {
		name  string
		says  []*protocol.Now
		want  string
		known bool
	}{
		{"nobody", nil, "", false},
		{"nobody who knows", []*protocol.Now{nil, nil}, "", false},
		{"the first", []*protocol.Now{nil, queued, {State: "ready"}}, "queued", true},
		{"done wins", []*protocol.Now{queued, done}, "done", true},
		{"too much", []*protocol.Now{{State: "x", Text: strings.Repeat("x", protocol.MaxText+1)}, queued}, "queued", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var all []told
			for _, now := range c.says {
				all = append(all, told{now: now})
			}
			if got, known := pickNow(all); got.State != c.want || known != c.known {
				t.Errorf("got %+v, %v", got, known)
			}
		})
	}
}

func twoStages() *protocol.Manifest {
	return &protocol.Manifest{Stages: []protocol.Stage{
		{Name: "map", Kind: protocol.MapStage, Tasks: 20},
		{Name: "merge", Kind: protocol.MergeStage, Tasks: 3}, {Name: "merge", Kind: protocol.MergeStage, Tasks: 1},
	}}
}

func TestSharesAreCounted(t *testing.T) {
	ids := somePeers(t, 2)
	run := func(stage, index int, by peer.ID, failed string) protocol.TaskRun {
		return protocol.TaskRun{Task: protocol.Key{Stage: stage, Index: index}, Worker: by, Took: time.Second, Failed: failed}
	}
	runs := []protocol.TaskRun{
		run(0, 0, ids[0], ""), run(0, 0, ids[1], ""), run(0, 1, ids[0], "exit status 1"), run(0, 1, ids[0], ""), run(1, 0, ids[0], ""),
		run(0, 99, ids[0], ""), run(9, 0, ids[0], ""), run(0, 2, "nobody", ""),
	}
	stages, workers := shares(twoStages(), runs)
	if s := stages[0]; s.Done != 2 || s.Runs != 4 || s.Failed != 1 || s.Tasks != 20 || s.Name != "map" {
		t.Errorf("the first stage is %+v", s)
	}
	if s := stages[1]; s.Done != 1 || s.Runs != 1 {
		t.Errorf("the second stage is %+v", s)
	}
	want := []WorkerShare{{Peer: ids[0], Runs: 3, Failed: 1, Took: 4 * time.Second}, {Peer: ids[1], Runs: 1, Took: time.Second}}
	if !slices.Equal(workers, want) {
		t.Errorf("the workers are %+v, want %+v", workers, want)
	}
	if got := runsOf(protocol.Key{Index: 1}, runs); len(got) != 2 || got[0].Failed == "" || got[1].Failed != "" {
		t.Errorf("the runs are %+v", got)
	}
}

func TestTasksAreFoundByTheirNames(t *testing.T) {
	for text, want := range map[string]protocol.Key{
		"0/17": {Stage: 0, Index: 17}, "map/3": {Stage: 0, Index: 3}, "merge/2": {Stage: 1, Index: 2}, "2/0": {Stage: 2, Index: 0},
	} {
		if got, err := taskNamed(twoStages(), text); err != nil || got != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"0/20": "it has 0/0 to 0/19 (map), 1/0 to 1/2 (merge), 2/0 (merge)", "3/0": "no task", "mop/0": "no task", "0/-1": "no task",
		"17": "is not STAGE/INDEX", "": "is not STAGE/INDEX", "0/x": "is not STAGE/INDEX", "merge/0": "any of 2 tasks",
	} {
		if _, err := taskNamed(twoStages(), text); !errors.Is(err, ErrUnknownTask) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}
