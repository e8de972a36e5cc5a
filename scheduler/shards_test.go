package scheduler

import (
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// finished is a receipt of task k as a run gives it, with the inputs that the
// plan names; those of a top need not be known.
func finished(p *Plan, k protocol.Key, worker peer.ID) (protocol.SignedReceipt, *protocol.Receipt) {
	digest, _ := p.InputsDigest(k)
	r := &protocol.Receipt{Job: p.Job, Task: k, Inputs: digest, Worker: worker, Result: protocol.NewCID(protocol.CodecRaw, []byte(k.String()))}
	return protocol.SignedReceipt{Body: protocol.Encode(r)}, r
}

// shardedPlan is a plan of 20 maps, whose merges end three columns, and of what
// reads those.
func shardedPlan() *Plan {
	m := simManifest(20, 2, true)
	return newPlan(protocol.NewCID(protocol.CodecDagCBOR, []byte("job")), m, layoutOf(m, 8))
}

// TestTopStandsForItsColumn holds that a column is done with its top, on a node
// that knows no other task of it, and that the job goes on from there.
func TestTopStandsForItsColumn(t *testing.T) {
	p := shardedPlan()
	never := func(protocol.Key) bool { return false }
	if got := p.Ready(0, 10, never); len(got) != 0 {
		t.Fatalf("the job shard begins with %v", got)
	}
	for i := range 3 {
		if !p.unfinished(i + 1) {
			t.Fatalf("shard %d is finished before its top", i+1)
		}
		p.AddReceipt(finished(p, protocol.Key{Stage: 1, Index: i}, "a"))
	}
	if p.Done() != 23 || p.StageDone(0) != 20 {
		t.Fatalf("%d tasks done, %d of the first stage; want 23 and 20", p.Done(), p.StageDone(0))
	}
	for shard := 1; shard <= 3; shard++ {
		if got := p.Ready(shard, 10, never); len(got) != 0 || !p.complete(shard) {
			t.Fatalf("shard %d still has to run %v", shard, got)
		}
	}
	if got := p.Ready(0, 10, never); len(got) != 2 || got[0].Stage != 2 {
		t.Fatalf("ready: %v, want both reduces", got)
	}
}

// TestLostTopRunsAgain holds that a lost top is run again as long as somebody
// reads it, with what is not known of its column, and that it may be found.
func TestLostTopRunsAgain(t *testing.T) {
	p := shardedPlan()
	never := func(protocol.Key) bool { return false }
	top := protocol.Key{Stage: 1, Index: 1}
	for i := range 3 {
		p.AddReceipt(finished(p, protocol.Key{Stage: 1, Index: i}, "a"))
	}
	p.Lose(top)
	if got := p.Ready(2, 10, never); len(got) != 8 || got[0] != (protocol.Key{Index: 8}) {
		t.Fatalf("ready: %v, want all maps of the second column", got)
	}
	if got := p.Ready(0, 10, never); len(got) != 0 {
		t.Fatalf("ready without its input: %v", got)
	}
	p.Find(top)
	if got := p.Ready(2, 10, never); len(got) != 0 {
		t.Fatalf("ready though it was found: %v", got)
	}
	p.Lose(top)
	p.AddReceipt(finished(p, top, "b"))
	if p.unfinished(2) || p.tasks.get(top).lost {
		t.Fatal("a receipt did not bring the top back")
	}
	for i := range 2 {
		p.AddReceipt(finished(p, protocol.Key{Stage: 2, Index: i}, "a"))
	}
	p.Lose(top)
	if p.unfinished(2) {
		t.Fatal("a top that nobody reads any more is to run again")
	}
}

// TestNodesThatKnowPartsAgree holds that a node which holds only what the job
// shard hears of derives the root that one derives which holds everything, in
// whatever order receipts come, also where tasks give different results.
func TestNodesThatKnowPartsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, l := drawLayout(t, 100)
		m.Mode = protocol.Provenance
		job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
		all := newPlan(job, m, l)
		var receipts []*protocol.Receipt
		for s, stage := range m.Stages {
			for i := range stage.Tasks {
				k := protocol.Key{Stage: s, Index: i}
				for run := range rapid.IntRange(1, 3).Draw(t, "runs") {
					signed, r := finished(all, k, peer.ID(rune('a'+run)))
					r.Result = protocol.NewCID(protocol.CodecRaw, []byte{byte(s), byte(i), byte(run)})
					signed.Body = protocol.Encode(r)
					all.AddReceipt(signed, r)
					receipts = append(receipts, r)
				}
			}
		}
		part, rest := newPlan(job, m, l), newPlan(job, m, l)
		for _, r := range rapid.Permutation(receipts).Draw(t, "order") {
			signed := protocol.SignedReceipt{Body: protocol.Encode(r)}
			rest.AddReceipt(signed, r)
			if slices.Contains(l.Hears(r.Task), 0) {
				part.AddReceipt(signed, r)
			}
		}
		if !all.Root().Defined() || part.Root() != all.Root() || rest.Root() != all.Root() {
			t.Fatalf("roots %s, %s and %s", all.Root(), part.Root(), rest.Root())
		}
		if part.Done() != m.Tasks() || all.Done() != m.Tasks() {
			t.Fatalf("%d and %d of %d tasks are done", part.Done(), all.Done(), m.Tasks())
		}
	})
}

// TestAnnouncementsBringAShardOver holds that two ledgers that announce a shard
// to each other hold the same of it, and that the job shard's brings all tops.
func TestAnnouncementsBringAShardOver(t *testing.T) {
	for shard, want := range []int{3, 9, 9, 5} {
		from, to := shardedPlan(), shardedPlan()
		for s := range 2 {
			for i := range from.Manifest.Stages[s].Tasks {
				from.AddReceipt(finished(from, protocol.Key{Stage: s, Index: i}, "\x00\x01a")) // an identity multihash
			}
		}
		f := &protocol.Fact{Job: from.Job, Kind: protocol.Committed}
		from.AddFact(protocol.Signed{Body: protocol.Encode(f)}, f)
		if !to.Ledger.Lacks(from.Ledger.Announce(shard, true, true)) {
			t.Fatalf("shard %d: nothing is lacking", shard)
		}
		for _, d := range from.Ledger.LackedBy(to.Ledger.Announce(shard, true, false)) {
			if d.Shard != shard {
				t.Fatalf("a message for shard %d, want %d", d.Shard, shard)
			}
			for _, s := range d.Receipts {
				var r protocol.Receipt
				if err := protocol.Decode(s.Body, &r); err != nil {
					t.Fatal(err)
				}
				to.AddReceipt(s, &r)
			}
			for _, s := range d.Facts {
				to.AddFact(s, f)
			}
		}
		receipts, facts := to.Ledger.Everything()
		if len(receipts) != want || len(facts) != 1 {
			t.Fatalf("shard %d: %d receipts and %d facts came over, want %d and 1", shard, len(receipts), len(facts), want)
		}
		if to.Ledger.Lacks(from.Ledger.Announce(shard, true, true)) || len(from.Ledger.LackedBy(to.Ledger.Announce(shard, true, false))) != 0 {
			t.Fatalf("shard %d: something is still lacking", shard)
		}
	}
}

// TestLargeJobCostsAWorkerLittle holds that a node which knows a few tasks of the
// largest job has made room for these alone.
func TestLargeJobCostsAWorkerLittle(t *testing.T) {
	m := simManifest(protocol.MaxTasks, 8, true)
	p := NewPlan(protocol.NewCID(protocol.CodecDagCBOR, []byte("job")), m)
	for i := range 10 {
		p.AddReceipt(finished(p, protocol.Key{Index: 700 + i}, "a"))
	}
	room := 0
	p.Ledger.everything(func(protocol.Key, *record) { room++ })
	if room != protocol.ShardLeaves {
		t.Fatalf("room for %d tasks", room)
	}
	if got := p.Heard(); !slices.Equal(got, []int{0, 2}) {
		t.Fatalf("heard of shards %v, want the job's and the second", got)
	}
	p.Done() // asks about every task
	p.Ready(2, 16, func(protocol.Key) bool { return false })
	if p.Ledger.everything(func(protocol.Key, *record) { room-- }); room != 0 {
		t.Fatal("to ask makes room")
	}
}

// woken counts, by shard, the nodes that are told to look after it.
func woken(effects []Effect) map[int]int {
	out := map[int]int{}
	for _, e := range effects {
		if send, ok := e.(Send); ok {
			if a, ok := send.Message.(*protocol.Announce); ok && a.Shard > 0 {
				out[a.Shard]++
			}
		}
	}
	return out
}

// shardedSteward is the acting steward of the job shard of a plan, on the first
// of three nodes.
func shardedSteward(p *Plan) (*Steward, time.Time) {
	now := time.Unix(1e9, 0)
	f := &protocol.Fact{Job: p.Job, Kind: protocol.Committed, At: now}
	p.AddFact(protocol.Signed{Body: protocol.Encode(f)}, f)
	ids := []peer.ID{"a", "b", "c", "d"}
	s := NewSteward(p, 0, Stewards(string(p.Job), 0, 1, ids)[0], mathrand.New(mathrand.NewPCG(1, 1)))
	var live []Node
	for _, id := range ids {
		live = append(live, Node{ID: id, Slots: 1, Has: protocol.Needs{Kinds: []protocol.ProgramKind{protocol.Wasm}, Cores: 1}})
	}
	s.SetNodes(now, live)
	return s, now
}

// TestColumnsAreWokenAsRoomIs holds that the job shard's steward wakes the first
// unfinished columns at once, others as those are done, and all again in time.
func TestColumnsAreWokenAsRoomIs(t *testing.T) {
	m := simManifest(100, 0, false)
	p := newPlan(protocol.NewCID(protocol.CodecDagCBOR, []byte("job")), m, layoutOf(m, 8))
	s, now := shardedSteward(p)
	got := woken(s.Begin(now))
	if len(got) != minAwake || got[1] != m.Copies {
		t.Fatalf("woke %v, want %d nodes for each of the first %d", got, m.Copies, minAwake)
	}
	if got := woken(s.Tick(now.Add(time.Second))); len(got) != 0 {
		t.Fatalf("woke %v again at once", got)
	}
	for i := range 8 {
		p.AddReceipt(finished(p, protocol.Key{Index: i}, "a"))
	}
	if got := woken(s.Tick(now.Add(2 * time.Second))); len(got) != 1 || got[minAwake+1] != m.Copies {
		t.Fatalf("woke %v when the first was done, want the next", got)
	}
	if got := woken(s.Tick(now.Add(protocol.DigestEvery))); len(got) != minAwake || got[1] != 0 {
		t.Fatalf("woke %v after a while, want those that are not done", got)
	}
}

// TestLostTopIsReported holds that the job shard's steward goes on asking for a
// top that nobody seems to hold.
func TestLostTopIsReported(t *testing.T) {
	p := shardedPlan()
	s, now := shardedSteward(p)
	s.Begin(now)
	for i := range 3 {
		p.AddReceipt(finished(p, protocol.Key{Stage: 1, Index: i}, "a"))
	}
	p.Lose(protocol.Key{Stage: 1, Index: 2})
	for i := 1; i < 4; i++ {
		effects := s.Tick(now.Add(time.Duration(i) * protocol.DigestEvery))
		if !slices.ContainsFunc(effects, func(e Effect) bool {
			c, ok := e.(Check)
			return ok && c.Shard == 0 && slices.Equal(c.Deps, []protocol.Key{{Stage: 1, Index: 2}})
		}) || woken(effects)[3] == 0 {
			t.Fatalf("round %d: %v", i, effects)
		}
	}
}

// TestStatusCountsAllShards holds that what other stewards report is counted
// once, bounded, and forgotten when it is old.
func TestStatusCountsAllShards(t *testing.T) {
	p := shardedPlan()
	s, now := shardedSteward(p)
	s.Begin(now)
	p.AddReceipt(finished(p, protocol.Key{Stage: 1, Index: 0}, "a")) // 9 tasks
	p.AddReceipt(finished(p, protocol.Key{Index: 8}, "a"))           // 1 of the next
	s.Reported(now, protocol.Progress{Shard: 1, Done: 9, Executions: 10, Running: 0})
	s.Reported(now, protocol.Progress{Shard: 2, Done: 4, Executions: 5, Running: 2, Queued: 1, Waiting: "for a reason"})
	s.Reported(now, protocol.Progress{Shard: 3, Done: 1 << 40, Running: 1 << 40})
	s.Reported(now, protocol.Progress{Shard: 4, Done: 1000})
	st := s.State(now)
	if st.Shards != 4 || st.Done != 9+4+5 || st.Executions != 10+5 || st.Running != 2+5 || st.Queued != 1 || st.Waiting != "for a reason" {
		t.Fatalf("state %+v", st)
	}
	if st := s.State(now.Add(protocol.ClaimTTL)); st.Done != 18 || st.Running != 0 || st.Waiting != "" {
		t.Fatalf("state %+v when nobody has reported for a while", st)
	}
}

// TestMailGoesToWhomItConcerns holds that receipts reach the stewards of their
// shard, tops those of the job too, and facts about the job only these.
func TestMailGoesToWhomItConcerns(t *testing.T) {
	p := shardedPlan()
	mail := Mail{}
	for _, k := range []protocol.Key{{Index: 3}, {Index: 19}, {Stage: 1, Index: 2}, {Stage: 2}} {
		signed, _ := finished(p, k, "a")
		mail.Receipt(p.Layout, k, signed)
	}
	mail.Fact(p.Layout, &protocol.Fact{Kind: protocol.Cancelled}, protocol.Signed{})
	mail.Fact(p.Layout, &protocol.Fact{Kind: protocol.FailedRun, Run: &protocol.Failure{Task: protocol.Key{Index: 9}}}, protocol.Signed{})
	got := map[int][2]int{}
	for _, d := range mail.Messages(p.Job) {
		got[d.Shard] = [2]int{len(d.Receipts), len(d.Facts)}
	}
	want := map[int][2]int{0: {2, 1}, 1: {1, 0}, 2: {0, 1}, 3: {2, 0}}
	for shard := range 4 {
		if got[shard] != want[shard] {
			t.Errorf("shard %d is sent %v receipts and facts, want %v", shard, got[shard], want[shard])
		}
	}
}

// TestDistrustStaysInItsColumn holds that all nodes agree on a top, whether or
// not they know who was outvoted below it.
func TestDistrustStaysInItsColumn(t *testing.T) {
	inside, outside := shardedPlan(), shardedPlan()
	add := func(k protocol.Key, worker peer.ID, result string) {
		_, r := finished(inside, k, worker)
		r.Result = protocol.NewCID(protocol.CodecRaw, []byte(result))
		signed := protocol.SignedReceipt{Body: protocol.Encode(r)}
		inside.AddReceipt(signed, r)
		if slices.Contains(inside.Layout.Hears(k), 0) {
			outside.AddReceipt(signed, r)
		}
	}
	for i := range 8 {
		add(protocol.Key{Index: i}, "a", "right")
	}
	top := protocol.Key{Stage: 1}
	add(top, "a", "top")
	add(protocol.Key{}, "b", "other")
	add(protocol.Key{}, "c", "other")
	if got := inside.Distrusted(); !slices.Equal(got, []peer.ID{"a"}) {
		t.Fatalf("distrusted: %v", got)
	}
	for _, p := range []*Plan{inside, outside} {
		if !p.isDone(top) || p.unfinished(1) {
			t.Fatal("the top no longer counts")
		}
	}
	add(top, "b", "another top")
	if inside.isDone(top) || outside.isDone(top) {
		t.Fatal("one of two results counts")
	}
	add(top, "c", "another top")
	if a, b := inside.tasks.get(top).result, outside.tasks.get(top).result; a != b || a != protocol.NewCID(protocol.CodecRaw, []byte("another top")) {
		t.Fatalf("tops %s and %s", a, b)
	}
}
