package scheduler

import (
	"crypto/rand"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

func testKey(t *testing.T) crypto.PrivKey {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// aloneSteward is the acting steward of a job in a mesh of some nodes that
// never answer by themselves.
func aloneSteward(nodes int, m *protocol.Manifest) (*Steward, time.Time) {
	job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
	plan := NewPlan(job, m)
	var ids []peer.ID
	for i := range nodes {
		ids = append(ids, peer.ID(rune('a'+i)))
	}
	self := Stewards(string(job), 0, 3, ids)[0]
	s := NewSteward(plan, 0, self, mathrand.New(mathrand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	fact := &protocol.Fact{Job: job, Kind: protocol.Committed, At: now}
	plan.AddFact(protocol.Signed{Body: protocol.Encode(fact)}, fact)
	var live []Node
	for _, id := range ids {
		live = append(live, Node{ID: id, Slots: 1, Has: protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Wasm}, Cores: 1}})
	}
	s.SetNodes(now, live)
	return s, now
}

func awards(effects []Effect) map[peer.ID]int {
	out := map[peer.ID]int{}
	for _, e := range effects {
		if send, ok := e.(Send); ok {
			if a, ok := send.Message.(*protocol.Award); ok {
				out[send.To] += len(a.Tasks)
			}
		}
	}
	return out
}

func TestOfferBidAward(t *testing.T) {
	s, now := aloneSteward(3, simManifest(2, 0, false))
	asked := 0
	var out []Effect
	for _, e := range s.Begin(now) {
		send, ok := e.(Send)
		if !ok {
			continue
		}
		if o, ok := send.Message.(*protocol.Offer); ok {
			asked++
			out = append(out, s.Bid(now, send.To, &protocol.Bid{Job: o.Job, Reservation: o.Reservation, Tasks: 1})...)
		}
	}
	if asked < 3 {
		t.Fatalf("%d nodes asked", asked)
	}
	total := 0
	for _, n := range awards(out) {
		total += n
	}
	if total != 2 || len(s.claims) != 2 {
		t.Fatalf("%d tasks awarded, %d claimed, want 2", total, len(s.claims))
	}
}

func TestSilentClaimIsOfferedAgain(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	k := protocol.Key{}
	s.offers = map[uint64]*offer{}
	s.Pinged(now, "a", 1, []protocol.Key{k}, 1)
	if effects := s.Tick(now.Add(protocol.ClaimTTL - time.Millisecond)); len(s.offers) > 0 {
		t.Fatalf("a live claim was offered again: %v", effects)
	}
	s.Tick(now.Add(protocol.ClaimTTL))
	if len(s.offers) != 1 {
		t.Fatal("a silent claim was not offered again")
	}
}

func TestRestartedWorkerLosesItsClaims(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	s.Pinged(now, "a", 1, []protocol.Key{{}}, 1)
	s.Pinged(now, "a", 2, nil, 0)
	if len(s.claims) != 0 {
		t.Fatal("a node that has forgotten everything kept its claim")
	}
}

func failedRun(s *Steward, by peer.ID, kind protocol.FailKind, code int) {
	digest, _ := s.plan.InputsDigest(protocol.Key{})
	f := &protocol.Fact{Job: s.plan.Job, Kind: protocol.FailedRun, By: by, At: time.Unix(int64(s.plan.Ledger.size()), 0), Run: &protocol.Failure{Inputs: digest, Kind: kind, Code: code, Text: "exited", Tail: []byte("because\n")}}
	s.plan.AddFact(protocol.Signed{Body: protocol.Encode(f)}, f)
	s.FailedRun(time.Time{}, by, f.Run)
}

func concluded(effects []Effect) string {
	for _, e := range effects {
		if c, ok := e.(Conclude); ok {
			return c.Text
		}
	}
	return ""
}

func TestFailureIsAFactWhenTwoSawIt(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	s.Begin(now)
	failedRun(s, "a", protocol.FailExit, 3)
	if text := concluded(s.Tick(now)); text != "" {
		t.Fatalf("one node's word failed the job: %s", text)
	}
	failedRun(s, "b", protocol.FailExit, 4)
	if text := concluded(s.Tick(now)); text != "" {
		t.Fatalf("two different failures failed the job: %s", text)
	}
	failedRun(s, "c", protocol.FailExit, 3)
	text := concluded(s.Tick(now))
	if !strings.Contains(text, "because") || !strings.Contains(text, "0/0") {
		t.Fatalf("the verdict %q names neither task nor log", text)
	}
}

func TestHostFailuresAreAttempts(t *testing.T) {
	for retries, want := range map[int]int{0: protocol.DefaultRetries, 1: 1, protocol.MaxRetries: protocol.MaxRetries} {
		m := simManifest(1, 0, false)
		m.Policy.Retries = retries
		s, now := aloneSteward(1, m)
		s.Begin(now)
		for i := range want {
			if text := concluded(s.Tick(now)); text != "" {
				t.Fatalf("failed after %d attempts of %d: %s", i, want, text)
			}
			failedRun(s, "a", protocol.FailHost, 0)
		}
		if concluded(s.Tick(now)) == "" {
			t.Fatalf("with %d retries the job goes on for ever", retries)
		}
	}
}

func TestSecondSteward(t *testing.T) {
	s, now := aloneSteward(3, simManifest(1, 0, false))
	second := NewSteward(s.plan, 0, s.Stewards()[1], mathrand.New(mathrand.NewPCG(1, 1)))
	second.SetNodes(now, s.nodes)
	second.Tick(now)
	if second.Acting() {
		t.Fatal("the second acts at once")
	}
	second.Fellow(now.Add(500*time.Millisecond), s.self)
	second.Tick(now.Add(protocol.RankWait + 400*time.Millisecond))
	if second.Acting() {
		t.Fatal("the second acts while the first pings")
	}
	second.Tick(now.Add(protocol.RankWait + 600*time.Millisecond))
	if !second.Acting() {
		t.Fatal("the second does not act though the first is silent")
	}
	second.Fellow(now.Add(2*time.Second), s.self)
	second.Tick(now.Add(2 * time.Second))
	if second.Acting() {
		t.Fatal("the second acts on though the first is back")
	}
}

// starts are the tasks that begin.
func starts(effects []Effect) []Start {
	var out []Start
	for _, e := range effects {
		if s, ok := e.(Start); ok {
			out = append(out, s)
		}
	}
	return out
}

func TestWorkerReservesAndQueues(t *testing.T) {
	w := NewWorker(2, 1<<40, mathrand.New(mathrand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	bid := func(reservation uint64, tasks int) int {
		e := w.Offered(now, "s", &protocol.Offer{Job: "j", Reservation: reservation, Tasks: tasks}, 0, "")
		return e[0].(Send).Message.(*protocol.Bid).Tasks
	}
	if got := bid(1, 16); got != 3 {
		t.Fatalf("bid for %d, want its 2 slots and one that waits", got)
	}
	if got := bid(2, 16); got != 0 {
		t.Fatalf("bid for %d while its room is reserved", got)
	}
	now = now.Add(bidTTL)
	if got := bid(3, 1); got != 1 {
		t.Fatalf("bid for %d after the reservation has run out", got)
	}
	a := &protocol.Award{Job: "j", Reservation: 3}
	for i := range 4 {
		a.Tasks = append(a.Tasks, protocol.Awarded{Task: protocol.Key{Index: i}})
	}
	if got := starts(w.Awarded(now, "s", a, simNeeds)); len(got) != 2 {
		t.Fatalf("%d tasks started in 2 slots", len(got))
	}
	if got := starts(w.Awarded(now, "s", a, simNeeds)); len(got) != 0 {
		t.Fatal("a repeated award started something")
	}
	if claims := w.Claims(now); len(claims) != 1 || len(claims[0].Tasks) != 4 || claims[0].Running != 2 {
		t.Fatalf("claims %+v", claims)
	}
	if got := w.Ended(now, "j", protocol.Key{Index: 0}, time.Second); len(got) != 1 {
		t.Fatal("a free slot was not filled")
	}
	if claims := w.Claims(now); len(claims[0].Tasks) != 4 {
		t.Fatal("the claim ended before the stewards were told")
	}
	w.Told("j", protocol.Key{Index: 0})
	if got := w.Drop("j"); len(got) != 2 {
		t.Fatalf("%d tasks stopped, want 2", len(got))
	}
}

// TestLostPartOfTheRootRunsAgain holds that a job whose root is known, but not
// yet copied, goes on when one of the root's parts is lost.
func TestLostPartOfTheRootRunsAgain(t *testing.T) {
	s, now := aloneSteward(3, simManifest(2, 0, false))
	s.Begin(now)
	for _, k := range []protocol.Key{{Index: 0}, {Index: 1}, {Stage: 1}} {
		digest, _ := s.plan.InputsDigest(k)
		r := &protocol.Receipt{Job: s.plan.Job, Task: k, Inputs: digest, Result: protocol.NewCID(protocol.CodecRaw, []byte(k.String()))}
		s.plan.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(r)}, r)
	}
	s.offers = map[uint64]*offer{}
	s.plan.Lose(protocol.Key{Index: 1})
	s.Tick(now.Add(protocol.ClaimTTL))
	if len(s.offers) != 1 {
		t.Fatal("the lost part was not offered again: the job waits for ever")
	}
}

// TestAwardLeavesOutWhatIsDone holds that a receipt, or a claim, that comes
// between offer and award keeps its task from being run again.
func TestAwardLeavesOutWhatIsDone(t *testing.T) {
	s, now := aloneSteward(1, simManifest(3, 0, false))
	s.nodes[0].Slots = 3
	var o *protocol.Offer
	for _, e := range s.Begin(now) {
		if send, ok := e.(Send); ok {
			o, _ = send.Message.(*protocol.Offer)
		}
	}
	if o == nil || o.Tasks != 3 {
		t.Fatalf("offered %+v, want all 3 tasks", o)
	}
	done := protocol.Key{Index: 0}
	digest, _ := s.plan.InputsDigest(done)
	r := &protocol.Receipt{Job: s.plan.Job, Task: done, Inputs: digest, Result: protocol.NewCID(protocol.CodecRaw, []byte("a")), Worker: "z"}
	s.plan.AddReceipt(protocol.SignedReceipt{Body: protocol.Encode(r)}, r)
	s.Received(now, r)
	s.Pinged(now, "z", 1, []protocol.Key{{Index: 1}}, 1)
	if got := awards(s.Bid(now, s.self, &protocol.Bid{Job: o.Job, Reservation: o.Reservation, Tasks: 3})); got[s.self] != 1 {
		t.Fatalf("%d tasks awarded, want 1: one is done, one is claimed", got[s.self])
	}
}
