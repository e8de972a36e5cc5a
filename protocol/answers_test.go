package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestAnswersOutOfBoundsAreRefused(t *testing.T) {
	_, worker := testKey(t, 1)
	bad := Key{Stage: MaxStages}
	many := make([]peer.ID, MaxSources+1)
	for i := range many {
		many[i] = worker
	}
	long, text := strings.Repeat("n", MaxName+1), strings.Repeat("t", MaxText+1)
	run := func(r TaskRun) Answer {
		r.Worker = worker
		return Answer{Runs: []TaskRun{r}}
	}
	runs := make([]TaskRun, MaxRuns+1)
	for i := range runs {
		runs[i].Worker = worker
	}
	job := func(change func(*JobState)) Answer {
		s := JobState{Job: link("job")}
		change(&s)
		return Answer{Status: &s, Jobs: []JobState{s}}
	}
	for name, a := range map[string]Answer{
		"a long error":              {Error: text},
		"too many held":             {Held: make([]bool, MaxRoots+1)},
		"negative copies":           {Copies: -1},
		"too many copies":           {Copies: MaxCopies + 1},
		"too many jobs":             {Jobs: make([]JobState, MaxJobsListed+1)},
		"too many runs":             {Runs: runs},
		"a run of no task":          run(TaskRun{Task: bad}),
		"a run that ends before":    run(TaskRun{Took: -1}),
		"a run of a long stage":     run(TaskRun{Stage: long}),
		"a run that says too much":  run(TaskRun{Failed: text}),
		"a run with a whole log":    run(TaskRun{Tail: make([]byte, MaxTail+1)}),
		"an ability without bounds": {Can: &Needs{Cores: -1}},
		"a long story":              {Story: make([]Event, MaxStoryPage+1)},
		"an event of no task":       {Story: []Event{{Tasks: []Key{bad}}}},
		"an event of everybody":     {Story: []Event{{Peers: many}}},
		"an event of a long kind":   {Story: []Event{{Kind: EventKind(long)}}},
		"an event that says much":   {Story: []Event{{Text: text}}},
		"an event before itself":    {Story: []Event{{Took: -1}}},
		"an event less than once":   {Story: []Event{{Times: -1}}},
		"an event of less room":     {Story: []Event{{Room: -1}}},
		"a long state now":          {Now: &Now{State: long}},
		"a long reason now":         {Now: &Now{Text: text}},
		"a job of no state":         job(func(s *JobState) { s.State = "on holiday" }),
		"a job with a long name":    job(func(s *JobState) { s.Name = long }),
		"a job with a long error":   job(func(s *JobState) { s.Error = text }),
		"a job that waits long":     job(func(s *JobState) { s.Waiting = text }),
		"a job of less than none":   job(func(s *JobState) { s.Done = -1 }),
		"a job of negative bytes":   job(func(s *JobState) { s.BytesDone = -1 }),
		"a job of many copies":      job(func(s *JobState) { s.Copies = MaxCopies + 1 }),
		"a job of many shards":      job(func(s *JobState) { s.Shards = MaxShards + 1 }),
		"a job of many stewards":    job(func(s *JobState) { s.Stewards = many }),
		"a job that trusts nobody":  job(func(s *JobState) { s.Distrusted = many }),
		"a job of no policy":        job(func(s *JobState) { s.Policy.Strategy = "mine" }),
		"a worker of less than 0":   job(func(s *JobState) { s.Workers = map[peer.ID]int{worker: -1} }),
	} {
		if got, err := DecodeAnswer(Encode(a)); !errors.Is(err, ErrBounds) || got != nil {
			t.Errorf("%s: decodes to %+v, %v", name, got, err)
		}
	}
}

// TestFullAnswersFit holds that what one answer may list passes the bounds that
// hold before it is decoded.
func TestFullAnswersFit(t *testing.T) {
	_, worker := testKey(t, 1)
	a := Answer{Jobs: make([]JobState, MaxJobsListed), Runs: make([]TaskRun, MaxRuns), Story: make([]Event, MaxStoryPage)}
	for i := range a.Jobs {
		a.Jobs[i] = JobState{Job: link("job"), Stewards: []peer.ID{worker, worker, worker}, Workers: map[peer.ID]int{worker: 1}}
	}
	for i := range a.Runs {
		a.Runs[i] = TaskRun{Task: Key{Index: i}, Worker: worker, Log: link("log")}
	}
	for i := range a.Story {
		a.Story[i] = Event{Tasks: []Key{{Index: i}}, Peer: worker, Peers: []peer.ID{worker, worker, worker, worker}}
	}
	b := Encode(a)
	if got, err := DecodeAnswer(b); err != nil || !reflect.DeepEqual(*got, a) {
		t.Fatalf("%d bytes of %d items do not arrive: %v", len(b), countItems(b), err)
	}
}

// TestManyItemsAreRefusedUnread sends what takes a hundred times its length
// once it is decoded.
func TestManyItemsAreRefusedUnread(t *testing.T) {
	const each = 8 << 10
	list := append([]byte{0x99, each >> 8, each & 0xff}, bytes.Repeat([]byte{0xf6}, each)...) // of nulls
	task := append([]byte{0xa1, 2}, list...)                                                  // Awarded: its inputs
	var award bytes.Buffer
	award.Write([]byte{3, 0xa1, 3, 0x98, 200})
	for range 200 {
		award.Write(task)
	}
	if award.Len() > MaxMessage {
		t.Fatalf("%d bytes are no message", award.Len())
	}
	refused := testing.AllocsPerRun(1, func() {
		if m, err := DecodeMessage(award.Bytes()); !errors.Is(err, ErrBounds) || m != nil {
			t.Fatalf("decodes to %v, %v", m, err)
		}
	})
	if refused > 100 {
		t.Errorf("refusing it took %v allocations", refused)
	}
	for _, b := range [][]byte{{0x9f}, {0x58}, {0x5b, 255, 255, 255, 255, 255, 255, 255, 255}, {0x45, 1}, {0xff}} {
		if n := countItems(b); n != 1 {
			t.Errorf("%x has %d items", b, n)
		}
	}
}

// TestNobodyIsRefused leaves out who is named, which Encode cannot.
func TestNobodyIsRefused(t *testing.T) {
	type raw = map[int]any
	nobody := []any{nil}
	for name, a := range map[string]raw{
		"a run by nobody":        {7: []any{raw{1: []int{0, 0}}}},
		"a job of no stewards":   {5: raw{10: nobody}},
		"a job that trusts none": {6: []any{raw{24: nobody}}},
		"an event of nobody":     {10: []any{raw{5: nobody}}},
	} {
		if got, err := DecodeAnswer(Encode(a)); !errors.Is(err, ErrBounds) {
			t.Errorf("%s: decodes to %+v, %v", name, got, err)
		}
	}
	if got, err := DecodeRequest(Encode(raw{1: raw{1: []CID{link("a")}, 2: nobody}})); !errors.Is(err, ErrBounds) {
		t.Errorf("a source that is nobody: decodes to %+v, %v", got, err)
	}
	input := raw{1: link("in"), 2: 1, 3: nobody}
	award := Encode(raw{1: link("job"), 3: []any{raw{1: []int{0, 0}, 2: []any{input}}}})
	if got, err := DecodeMessage(append([]byte{(&Award{}).kind()}, award...)); !errors.Is(err, ErrBounds) {
		t.Errorf("a holder that is nobody: decodes to %+v, %v", got, err)
	}
}

func TestEveryKindHasAName(t *testing.T) {
	named := map[string]bool{}
	for _, m := range []Message{&Offer{}, &Bid{}, &Award{}, &Ping{}, &Done{}, &Ack{}, &Announce{}, &Steal{}, &Loot{}, &Stolen{}, &Release{}, &Lost{}} {
		name := MessageName(EncodeMessage(m)[0])
		if want := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "*protocol.")); name != want || named[name] {
			t.Errorf("%T is named %q", m, name)
		}
		named[name] = true
	}
	if MessageName(0) != "" || MessageName(255) != "" {
		t.Error("an unknown kind has a name")
	}
}

func TestCountItems(t *testing.T) {
	for want, v := range map[int]any{
		1: "some text",
		3: []string{"a", "b"},
		5: map[string]int{"a": 1 << 40, "b": 2},
		8: []any{[]byte("bytes"), link("a"), 1.5, []any{nil, true}},
	} {
		if got := countItems(Encode(v)); got != want {
			t.Errorf("%v has %d items, want %d", v, got, want)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	key, worker := testKey(f, 1)
	fact, err := SignFact(testFacts()[0], key)
	if err != nil {
		f.Fatal(err)
	}
	receipt := signReceipts(f, testReceipts(worker, 1), key)[0]
	for _, r := range []Request{
		{Hold: &Hold{Roots: []CID{link("a")}, Sources: []peer.ID{worker}, Job: link("job"), Receipts: []SignedReceipt{receipt}}},
		{Held: &Held{Roots: []CID{link("a"), link("b")}}},
		{Submit: &Submit{Manifest: []byte("m")}},
		{Commit: &Commit{Manifest: []byte("m"), Facts: []Signed{fact}}},
		{Status: &JobRef{Job: link("job")}},
		{Jobs: &JobList{Limit: 10}},
		{Runs: &JobRef{Job: link("job"), From: 2, Shard: 1}},
		{Cancel: &Cancel{Job: link("job"), Fact: fact}},
		{Explain: &Explain{Job: link("job"), Task: &Key{Stage: 1, Index: 2}}},
	} {
		f.Add(Encode(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRequest(b)
		if err != nil {
			return
		}
		survives(t, r, DecodeRequest)
	})
}

func FuzzDecodeAnswer(f *testing.F) {
	_, worker := testKey(f, 1)
	at := time.Unix(1_800_000_000, 0)
	state := JobState{
		Job: link("job"), Name: "count", State: StateRunning, Total: 3, Stewards: []peer.ID{worker}, Workers: map[peer.ID]int{worker: 1},
		Started: at, Policy: Policy{Strategy: AtRandom}, Distrusted: []peer.ID{worker}, RunUntil: at,
		Wanted: 9, Mode: Strict, Require: Require{Cores: 2, Labels: []string{"gpu"}},
	}
	for _, a := range []Answer{
		{Error: "the disk is full", Boot: 7, Copies: 2, Known: true},
		{Held: []bool{true, false}, Can: &Needs{Kinds: []ProgramKind{Wasm}, Funcs: []string{"f"}, Labels: []string{"gpu"}}},
		{Status: &state},
		{Jobs: []JobState{state, {}}},
		{Runs: []TaskRun{{Task: Key{Index: 3}, Stage: "map", Worker: worker, Took: time.Second, Log: link("log"), Tail: []byte("x")}}},
		{Story: []Event{{At: at, Kind: EventBid, Tasks: []Key{{Stage: 1}}, Peer: worker, Peers: []peer.ID{worker}}}, Now: &Now{State: "done", Text: "x"}},
	} {
		f.Add(Encode(a))
	}
	f.Add(Encode(map[int]any{7: []any{map[int]any{1: []int{0, 0}}}})) // a run by nobody
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAnswer(b)
		if err != nil {
			return
		}
		survives(t, a, DecodeAnswer)
	})
}

// survives holds that what was decoded is read again as it was.
func survives[T any](t *testing.T, v *T, decode func([]byte) (*T, error)) {
	t.Helper()
	once := Encode(v)
	again, err := decode(once)
	if err != nil {
		t.Fatalf("%+v does not survive: %v", v, err)
	}
	if !bytes.Equal(Encode(again), once) {
		t.Fatalf("%+v changes to %+v", v, again)
	}
}
