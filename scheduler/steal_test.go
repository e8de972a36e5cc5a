package scheduler

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

var wasmHas = protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Wasm}, Cores: 1, Memory: 1 << 30}

func loadedWorker(now time.Time, tasks int, needs protocol.Needs) *Worker {
	w := NewWorker(1, 1<<40, rand.New(rand.NewPCG(1, 1)))
	a := &protocol.Award{Job: "j"}
	for i := range tasks {
		a.Tasks = append(a.Tasks, protocol.Awarded{Task: protocol.Key{Index: i}})
	}
	w.Awarded(now, "s", a, func(protocol.Key) protocol.Needs { return needs })
	return w
}

// sent returns the only message among effects of that type.
func sent[M protocol.Message](t *testing.T, effects []Effect) M {
	t.Helper()
	var found []M
	for _, e := range effects {
		if s, ok := e.(Send); ok {
			if m, ok := s.Message.(M); ok {
				found = append(found, m)
			}
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d messages of type %T among %v", len(found), *new(M), effects)
	}
	return found[0]
}

var victims = []Node{{ID: "quiet", Slots: 1}, {ID: "busy", Slots: 1, Load: 9}, {ID: "me", Slots: 1, Load: 100}}

func TestThiefTakesHalf(t *testing.T) {
	now := time.Unix(1e9, 0)
	victim, thief := loadedWorker(now, 10, protocol.Needs{}), NewWorker(1, 1<<40, rand.New(rand.NewPCG(2, 2)))
	effects := thief.Tick(now, "me", victims, wasmHas)
	if effects[0].(Send).To != "busy" {
		t.Fatalf("steals from %s", effects[0].(Send).To)
	}
	ask := sent[*protocol.Steal](t, effects)
	if again := thief.Tick(now, "me", victims, wasmHas); again != nil {
		t.Fatalf("asks twice at once: %v", again)
	}
	loot := sent[*protocol.Loot](t, victim.Asked(now, "me", ask))
	if len(loot.Tasks) != 5 || !loot.Last {
		t.Fatalf("loot of %d tasks, want the larger half of the 9 that wait", len(loot.Tasks))
	}
	if claims := victim.Claims(now); len(claims[0].Tasks) != 10 {
		t.Fatal("the victim no longer claims what the thief has not told of")
	}
	if claims := victim.Claims(now.Add(handedFor)); len(claims[0].Tasks) != 5 {
		t.Fatalf("the victim claims %d tasks for ever", len(claims[0].Tasks))
	}
	if got := thief.Looted(now, "quiet", loot, simNeeds); got != nil {
		t.Fatalf("loot from another: %v", got)
	}
	got := thief.Looted(now, "busy", loot, simNeeds)
	stole, ok := got[0].(Stole)
	if !ok || len(stole.Tasks) != 5 || stole.From != "busy" {
		t.Fatalf("told the stewards %v", got)
	}
	if running, queued := thief.Load(); running != 1 || queued != 4 {
		t.Fatalf("the thief runs %d and queues %d", running, queued)
	}
	if got := thief.Looted(now, "busy", loot, simNeeds); got != nil {
		t.Fatalf("repeated loot: %v", got)
	}
}

func TestThiefIsGivenWhatItCanRun(t *testing.T) {
	now := time.Unix(1e9, 0)
	victim := loadedWorker(now, 4, protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Exec}})
	if loot := sent[*protocol.Loot](t, victim.Asked(now, "me", &protocol.Steal{Number: 1, Slots: 1, Has: wasmHas})); len(loot.Tasks) != 0 || !loot.Last {
		t.Fatalf("given %v", loot.Tasks)
	}
}

// TestLifeline holds that a thief that has failed twice waits at its victim, and
// is sent work that comes there.
func TestLifeline(t *testing.T) {
	now := time.Unix(1e9, 0)
	victim, thief := loadedWorker(now, 1, protocol.Needs{}), NewWorker(1, 1<<40, rand.New(rand.NewPCG(2, 2)))
	var ask *protocol.Steal
	for try := range lifelineAfter + 1 {
		now = now.Add(stealRest)
		ask = sent[*protocol.Steal](t, thief.Tick(now, "me", victims, wasmHas))
		if ask.Lifeline != (try == lifelineAfter) {
			t.Fatalf("try %d: lifeline %v", try, ask.Lifeline)
		}
		thief.Looted(now, "busy", sent[*protocol.Loot](t, victim.Asked(now, "me", ask)), simNeeds)
	}
	a := &protocol.Award{Job: "k", Tasks: []protocol.Awarded{{Task: protocol.Key{Index: 7}}}}
	loot := sent[*protocol.Loot](t, victim.Awarded(now, "s", a, simNeeds))
	if got := thief.Looted(now.Add(time.Second), "busy", loot, simNeeds); len(starts(got)) != 1 {
		t.Fatalf("pushed work: %v", got)
	}
	now = now.Add(lifelineTTL)
	a.Tasks[0].Task.Index = 8
	if got := victim.Awarded(now, "s", a, simNeeds); len(got) != 1 {
		t.Fatalf("pushed again along a lifeline that was used: %v", got)
	}
}

// TestStealersRest holds that failures make a thief ask less and less often.
func TestStealersRest(t *testing.T) {
	now := time.Unix(1e9, 0)
	thief := NewWorker(1, 1<<40, rand.New(rand.NewPCG(2, 2)))
	asked := 0
	for range 10_000 {
		now = now.Add(time.Millisecond)
		for _, e := range thief.Tick(now, "me", victims, wasmHas) {
			asked++
			m := e.(Send).Message.(*protocol.Steal)
			thief.Looted(now, "busy", &protocol.Loot{Number: m.Number, Last: true}, simNeeds)
		}
	}
	if asked < 10 || asked > 20 {
		t.Fatalf("asked %d times in 10 s", asked)
	}
}

// TestStewardFollowsTheft holds that a steward moves the claim to the thief,
// and is not led astray by the victim's last pings.
func TestStewardFollowsTheft(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	k := protocol.Key{}
	s.Pinged(now, "victim", 1, []protocol.Key{k}, 0)
	s.Stolen(now, "thief", &protocol.Stolen{From: "victim", Tasks: []protocol.Key{k, {Stage: 60}}})
	s.Pinged(now, "victim", 1, []protocol.Key{k}, 0)
	if c := s.claims[k]; c.by != "thief" || len(s.second) > 0 {
		t.Fatalf("claimed by %q, and beside it %v", c.by, s.second)
	}
	s.Stolen(now, "liar", &protocol.Stolen{From: "somebody", Tasks: []protocol.Key{k}})
	if c := s.claims[k]; c.by != "thief" {
		t.Fatalf("claimed by %q, who did not have it from who did", c.by)
	}
	s.Pinged(now.Add(awardGrace+1), "thief", 1, nil, 0)
	if _, held := s.claims[k]; held {
		t.Fatal("a thief that dropped its loot keeps the claim")
	}
}

// TestSlowTaskRunsTwice holds that a task that runs far longer than others is
// offered to another node, and that the slower of the two is told to stop.
func TestSlowTaskRunsTwice(t *testing.T) {
	s, now := aloneSteward(3, simManifest(30, 0, false))
	s.Begin(now)
	slow := protocol.Key{Index: 29}
	for i := range 29 {
		receive(s, now, protocol.Key{Index: i}, "fast", 100*time.Millisecond)
	}
	s.offers = map[uint64]*offer{}
	slower := s.nodes[0].ID
	for at := now.Add(3 * time.Second); now.Before(at) && len(s.offers) == 0; now = now.Add(protocol.PingEvery) {
		s.Pinged(now, slower, 1, []protocol.Key{slow}, 1)
		s.Tick(now)
	}
	var o *offer
	for _, open := range s.offers {
		o = open
	}
	if o == nil || o.beside != slower || len(o.keys) != 1 || o.keys[0] != slow {
		t.Fatalf("offers %+v", s.offers)
	}
	if o.asked[0] == slower {
		t.Fatal("the slow node itself was asked")
	}
	second := o.asked[0]
	for id := range s.offers {
		for _, who := range o.asked {
			s.Bid(now, who, &protocol.Bid{Job: s.plan.Job, Reservation: id, Tasks: 1, Start: map[peer.ID]time.Duration{second: 0}[who]})
		}
	}
	if s.second[slow].by == "" || s.claims[slow].by != slower {
		t.Fatalf("claims %+v and %+v", s.claims, s.second)
	}
	if len(s.stragglers(now)) > 0 {
		t.Fatal("a third run is due")
	}
	release := sent[*protocol.Release](t, receive(s, now, slow, s.second[slow].by, 100*time.Millisecond))
	if release.Tasks[0] != slow {
		t.Fatalf("released %v", release.Tasks)
	}
}

func receive(s *Steward, now time.Time, k protocol.Key, by peer.ID, took time.Duration) []Effect {
	digest, _ := s.plan.InputsDigest(k)
	r := &protocol.Receipt{Job: s.plan.Job, Task: k, Inputs: digest, Result: protocol.NewCID(protocol.CodecRaw, []byte(k.String())), Worker: by, Took: took}
	s.plan.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(r)}, r)
	return s.Received(now, r)
}
