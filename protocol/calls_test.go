package protocol

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

func TestRequestsRoundTrip(t *testing.T) {
	key, worker := testKey(t, 1)
	fact, err := SignFact(testFacts()[0], key)
	if err != nil {
		t.Fatal(err)
	}
	receipt := signReceipts(t, testReceipts(worker, 1), key)[0]
	names := map[string]bool{}
	for _, want := range []Request{
		{Hold: &Hold{Roots: []CID{link("a")}, Sources: []peer.ID{worker}, Job: link("job"), Receipts: []SignedReceipt{receipt}}},
		{Held: &Held{Roots: []CID{link("a"), link("b")}}},
		{Submit: &Submit{Manifest: []byte("m")}},
		{Commit: &Commit{Manifest: []byte("m"), Facts: []Signed{fact}}},
		{Status: &JobRef{Job: link("job")}},
		{Jobs: &JobList{Limit: 10}},
		{Runs: &JobRef{Job: link("job")}},
		{Cancel: &Cancel{Job: link("job"), Fact: fact}},
		{Explain: &Explain{Job: link("job"), Task: &Key{Stage: 1, Index: 2}, From: 3}},
	} {
		got, err := DecodeRequest(Encode(want))
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v arrives as %+v, %v", want, got, err)
		}
		if names[want.Name()] || want.Name() == "" {
			t.Errorf("%+v is named %q", want, want.Name())
		}
		names[want.Name()] = true
	}
	if name := (&Request{}).Name(); name != "" {
		t.Errorf("an empty request is named %q", name)
	}
}

func TestRequestsOutOfBoundsAreRefused(t *testing.T) {
	for name, r := range map[string]Request{
		"nothing":             {},
		"two at once":         {Status: &JobRef{Job: link("job")}, Jobs: &JobList{}},
		"too many roots":      {Held: &Held{Roots: make([]CID, MaxRoots+1)}},
		"a root without CID":  {Hold: &Hold{Roots: []CID{""}}},
		"too many sources":    {Hold: &Hold{Sources: make([]peer.ID, MaxSources+1)}},
		"too large a job":     {Submit: &Submit{Manifest: make([]byte, MaxManifest+1)}},
		"too many facts":      {Commit: &Commit{Facts: make([]Signed, MaxFacts+1)}},
		"no job":              {Status: &JobRef{}},
		"less than no jobs":   {Jobs: &JobList{Limit: -1}},
		"a cancel of nothing": {Cancel: &Cancel{}},
	} {
		for i := range hold(r).Sources {
			_, hold(r).Sources[i] = testKey(t, byte(i))
		}
		if got, err := DecodeRequest(Encode(r)); !errors.Is(err, ErrBounds) || got != nil {
			t.Errorf("%s: decodes to %+v, %v", name, got, err)
		}
	}
}

// hold returns the request's Hold, or an empty one.
func hold(r Request) *Hold {
	if r.Hold == nil {
		return &Hold{}
	}
	return r.Hold
}

func TestAnswersRoundTrip(t *testing.T) {
	_, worker := testKey(t, 1)
	at := time.Unix(1_800_000_000, 0)
	for _, want := range []Answer{
		{},
		{Error: "the disk is full"},
		{Held: []bool{true, false}},
		{Boot: 1 << 60},
		{Copies: 2},
		{Known: true},
		{Jobs: []JobState{{}}}, // what a node knows that has only the ID
		{Status: &JobState{
			Job: link("job"), State: StateRunning, Total: 3, Done: 1, Root: "", Stewards: []peer.ID{worker},
			Workers: map[peer.ID]int{worker: 1}, Started: at, Submitter: worker,
		}},
		{
			Can: &Needs{Kinds: []ProgramKind{Wasm}, Cores: 2, Labels: []string{"gpu"}},
			Now: &Now{State: "running", Text: "on node a"},
			Story: []Event{{
				At: at, Kind: EventStolen, Tasks: []Key{{Stage: 1, Index: 2}}, Peer: worker, Peers: []peer.ID{worker},
				Took: time.Second, Room: 2, Text: "idle", Times: 3,
			}},
		},
		{Runs: []TaskRun{{Task: Key{Index: 3}, Stage: "map", Worker: worker, Took: time.Second, Log: link("log"), Tail: []byte("x")}}},
	} {
		if got, err := DecodeAnswer(Encode(want)); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%+v arrives as %+v, %v", want, got, err)
		}
	}
}

func TestEndedStates(t *testing.T) {
	for state, want := range map[State]bool{
		StatePending: false, StateRunning: false, StateProvisional: false,
		StateFinal: true, StateFailed: true, StateCancelled: true,
	} {
		if state.Ended() != want {
			t.Errorf("%s: ended %v", state, !want)
		}
	}
}
