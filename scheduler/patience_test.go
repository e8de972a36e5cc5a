package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestLostInputIsWaitedFor holds that a task whose input nobody gives is tried
// more and more seldom, never fails the job, and is tried at once when a node
// joins.
func TestLostInputIsWaitedFor(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	k, tries := protocol.Key{}, 0
	for range 4000 { // 100 s
		now = now.Add(25 * time.Millisecond)
		s.resting = nil
		if text := concluded(s.Tick(now)); text != "" {
			t.Fatalf("the job failed: %s", text)
		}
		if len(s.offers) > 0 {
			tries++
			s.offers = map[uint64]*offer{}
			s.resting = map[peer.ID]time.Time{}
			failedRun(s, "a", protocol.FailInput, tries)
			s.FailedRun(now, "a", &protocol.Failure{Task: k, Kind: protocol.FailInput, Lost: s.plan.Job})
		}
		s.resting = map[peer.ID]time.Time{}
	}
	if tries < 8 || tries > 20 {
		t.Errorf("tried %d times in 100 s", tries)
	}
	if !strings.Contains(s.Waiting(), s.plan.Job.String()) {
		t.Errorf("waiting says %q, not what for", s.Waiting())
	}
	s.SetNodes(now, append(s.nodes, Node{ID: "zz", Slots: 1, Has: s.nodes[0].Has}))
	s.Tick(now)
	if len(s.offers) == 0 {
		t.Error("a node that may have it has come, and nobody is asked")
	}
}

// TestCutOffStewardJudgesNothing holds that a steward that sees too few nodes
// does not end a job that others may bring to its end, unless it stays so.
func TestCutOffStewardJudgesNothing(t *testing.T) {
	s, now := aloneSteward(1, simManifest(1, 0, false))
	fact := &protocol.Fact{Job: s.plan.Job, Kind: protocol.Committed, At: now, Copies: 3, Root: ""}
	s.plan.AddFact(protocol.Signed{Body: protocol.Encode(fact)}, fact)
	s.plan.Ledger.facts.job[protocol.Committed] = s.plan.Ledger.facts.job[protocol.Committed][1:]
	s.SetNodes(now, s.nodes)
	s.Begin(now)
	failedRun(s, s.self, protocol.FailExit, 3)
	if text := concluded(s.Tick(now.Add(cutOffWait / 2))); text != "" {
		t.Fatalf("judged while cut off: %s", text)
	}
	if concluded(s.Tick(now.Add(2*cutOffWait))) == "" {
		t.Fatal("a mesh of one never judges")
	}
}

// TestRestartFreesClaims holds that what a node held before it was started anew
// is offered again at once.
func TestRestartFreesClaims(t *testing.T) {
	s, now := aloneSteward(3, simManifest(2, 0, false))
	for i := range s.nodes {
		s.nodes[i].Boot = 1
	}
	s.Begin(now)
	s.Pinged(now, "a", 1, []protocol.Key{{}}, 1)
	again := append([]Node(nil), s.nodes...)
	for i := range again {
		if again[i].ID == "a" {
			again[i].Boot = 2
		}
	}
	s.SetNodes(now.Add(time.Second), again)
	if _, held := s.claims[protocol.Key{}]; held {
		t.Error("the claim of an earlier life stands")
	}
}

// TestNodeThatBeginsNothingRests holds that who bids and drops what it is given
// is not asked for a while.
func TestNodeThatBeginsNothingRests(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	for range droppedOften {
		s.claims[protocol.Key{}] = claim{by: "a", awarded: now, until: now.Add(protocol.ClaimTTL)}
		now = now.Add(2 * awardGrace)
		s.Pinged(now, "a", 1, nil, 0)
	}
	if !s.resting["a"].After(now) {
		t.Error("it is asked again at once")
	}
	receive(s, now, protocol.Key{}, "a", time.Second)
	if s.resting["a"].After(now) {
		t.Error("it has given a result and is still not asked")
	}
}
