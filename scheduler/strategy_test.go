package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// bidders asks 20 nodes, of which the last hold the input, and lets some bid.
func bidders(strategy protocol.Strategy) (*Steward, time.Time) {
	m := simManifest(1, 0, false)
	m.Policy.Strategy, m.Bytes = strategy, 100<<20
	s, now := aloneSteward(20, m)
	s.SetSources([]peer.ID{s.nodes[18].ID, s.nodes[19].ID})
	s.nodes[3].Has.Cores, s.nodes[3].Slots = 64, 64
	for i := range s.nodes {
		s.nodes[i].Load = i / 10 // the holders are busier
	}
	return s, now
}

func TestStrategiesChooseWhomToAsk(t *testing.T) {
	for strategy, want := range map[protocol.Strategy]func(s *Steward, asked []peer.ID) bool{
		protocol.ByLoad:     func(s *Steward, asked []peer.ID) bool { return holds(s, asked, 18, 19) && len(idle(s, asked)) == 2 },
		protocol.ByLocality: func(s *Steward, asked []peer.ID) bool { return holds(s, asked, 18, 19) },
		protocol.ByResource: func(s *Steward, asked []peer.ID) bool { return asked[0] == s.nodes[3].ID },
		protocol.AtRandom:   func(s *Steward, asked []peer.ID) bool { return len(asked) == protocol.OfferFanout },
	} {
		s, now := bidders(strategy)
		s.Begin(now)
		for _, o := range s.offers {
			if !want(s, o.asked) || len(o.asked) != protocol.OfferFanout {
				t.Errorf("%s asked %v", strategy, o.asked)
			}
		}
	}
}

func holds(s *Steward, asked []peer.ID, nodes ...int) bool {
	for _, n := range nodes {
		if !slices.Contains(asked, s.nodes[n].ID) {
			return false
		}
	}
	return true
}

func idle(s *Steward, asked []peer.ID) []peer.ID {
	return slices.DeleteFunc(slices.Clone(asked), func(id peer.ID) bool {
		return s.nodes[slices.IndexFunc(s.nodes, func(n Node) bool { return n.ID == id })].Load > 0
	})
}

func TestStrategiesChooseWhoIsGivenTheTask(t *testing.T) {
	bids := []*protocol.Bid{
		{Tasks: 1, Start: time.Second},
		{Tasks: 1, Start: 2 * time.Second, Missing: 0, Free: protocol.Needs{Cores: 8}},
		{Tasks: 1, Missing: 1 << 30},
	}
	for strategy, want := range map[protocol.Strategy]int{protocol.ByLoad: 0, protocol.ByResource: 1, protocol.ByLocality: 0} {
		m := simManifest(1, 0, false)
		m.Policy.Strategy = strategy
		s, _ := aloneSteward(3, m)
		o := &offer{keys: []protocol.Key{{}}, bids: map[peer.ID]*protocol.Bid{}}
		for i, b := range bids {
			o.asked = append(o.asked, s.nodes[i].ID)
			o.bids[s.nodes[i].ID] = b
		}
		if got := s.choose(s.hands(o), time.Second); got.who != s.nodes[want].ID {
			t.Errorf("%s chose %+v", strategy, got.bid)
		}
	}
}

// TestChanceSpreads holds that the random strategy gives to all alike.
func TestChanceSpreads(t *testing.T) {
	m := simManifest(1, 0, false)
	m.Policy.Strategy = protocol.AtRandom
	s, _ := aloneSteward(4, m)
	got := map[peer.ID]int{}
	for range 4000 {
		o := &offer{keys: []protocol.Key{{}}, bids: map[peer.ID]*protocol.Bid{}}
		for i, n := range s.nodes {
			o.asked = append(o.asked, n.ID)
			o.bids[n.ID] = &protocol.Bid{Tasks: 1, Start: time.Duration(i) * time.Hour}
		}
		got[s.choose(s.hands(o), time.Second).who]++
	}
	for id, n := range got {
		if n < 850 || n > 1150 {
			t.Errorf("node %s was chosen %d times of 4000", id, n)
		}
	}
}

// TestSlowNodesAreBelievedLess holds that who takes far longer than predicted
// is given less.
func TestSlowNodesAreBelievedLess(t *testing.T) {
	s, _ := aloneSteward(2, simManifest(1, 0, false))
	a, b := s.nodes[0].ID, s.nodes[1].ID
	for range 20 {
		s.pace.note(a, time.Second, 5*time.Second)
		s.pace.note(b, time.Second, time.Second)
	}
	o := &offer{keys: []protocol.Key{{}}, asked: []peer.ID{a, b}, bids: map[peer.ID]*protocol.Bid{a: {Tasks: 1}, b: {Tasks: 1, Start: time.Second}}}
	if got := s.choose(s.hands(o), time.Second); got.who != b {
		t.Error("who promises to begin at once, and never does, was believed")
	}
}

func TestStoryTellsWhy(t *testing.T) {
	s, now := aloneSteward(2, simManifest(2, 0, false))
	s.Begin(now)
	k := protocol.Key{Index: 1}
	for id, o := range s.offers {
		for range 3 {
			s.Bid(now, o.asked[0], &protocol.Bid{Job: s.plan.Job, Reservation: id, Refusal: "it does not allow exec"})
		}
	}
	var kinds []string
	for _, e := range s.Story(&k, 0) {
		kinds = append(kinds, string(e.Kind))
		if len(e.Tasks) > 1 {
			t.Errorf("an event of other tasks: %+v", e)
		}
	}
	if got := strings.Join(kinds, ","); !strings.HasPrefix(got, "steward,offered,refused") {
		t.Errorf("the story of %s: %s", k, got)
	}
	for range 3 * protocol.MaxStory {
		s.story.note(now, protocol.Event{Kind: protocol.EventLost, Tasks: []protocol.Key{{Index: s.rng.IntN(1000)}}})
	}
	if n := len(s.story.events); n > protocol.MaxStory {
		t.Errorf("the story has %d events", n)
	}
	if n := len(s.Story(nil, 0)); n > protocol.MaxStoryPage {
		t.Errorf("a page has %d events", n)
	}
}

func TestNowSaysWhatKeepsATask(t *testing.T) {
	s, now := aloneSteward(2, simManifest(2, 0, false))
	k, last := protocol.Key{}, protocol.Key{Stage: 1}
	expect := func(k protocol.Key, state, text string) {
		t.Helper()
		if got := s.Now(now, &k); got.State != state || !strings.Contains(got.Text, text) {
			t.Errorf("task %s is %q: %q, want %q: %q", k, got.State, got.Text, state, text)
		}
	}
	s.Begin(now)
	expect(k, "offered", "to ")
	expect(last, "waiting", "2 of the 2 tasks that it reads are not done, 0/0 for one")
	s.Pinged(now, "a", 1, []protocol.Key{k, {Index: 1}}, 1)
	now = now.Add(1500 * time.Millisecond)
	expect(k, "running", "for 1.5s")
	expect(protocol.Key{Index: 1}, "queued", "on ")
	receive(s, now, k, "a", time.Second)
	expect(k, "done", "by ")
	s.plan.Manifest.Stages[0].Program.Kind = protocol.Exec
	s.claims, s.offers = map[protocol.Key]claim{}, map[uint64]*offer{}
	expect(protocol.Key{Index: 1}, "ready", "does not allow exec")
}
