package node

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestFlooderWaitsForItself holds that a peer which says more than the loop
// takes fills its own places, and no others'.
func TestFlooderWaitsForItself(t *testing.T) {
	l := &loop{events: make(chan func(time.Time), maxEvents), done: make(chan struct{})}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	handled := 0
	handle := func(time.Time) { handled++ }
	for i := range maxWaiting {
		if !l.postFor(t.Context(), "flooder", handle) {
			t.Fatalf("message %d does not wait", i)
		}
	}
	if l.postFor(ended, "flooder", handle) {
		t.Fatal("one more waits")
	}
	if !l.postFor(t.Context(), "honest", handle) {
		t.Fatal("another's does not wait")
	}
	if len(l.events) != maxWaiting+1 {
		t.Fatalf("%d wait", len(l.events))
	}
	for len(l.events) > 0 {
		(<-l.events)(time.Time{})
	}
	if handled != maxWaiting+1 || !l.postFor(t.Context(), "flooder", handle) {
		t.Fatalf("%d were handled, and no more can be", handled)
	}
}

// heap is what is in use once garbage is gone.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// flood sends the same bytes on as many streams as a peer may have, over and
// over, until ctx ends. What the node takes on the way is its own pace. A
// stream that the node refuses is opened again: it may still hold earlier ones.
func (h *hostile) flood(ctx context.Context, b []byte) {
	var streams sync.WaitGroup
	for range maxInbound {
		streams.Go(func() {
			for ctx.Err() == nil {
				h.pour(ctx, b)
			}
		})
	}
	streams.Wait()
}

// pour floods on one stream until that or ctx ends.
func (h *hostile) pour(ctx context.Context, b []byte) {
	s, err := h.Host().NewStream(ctx, h.to.id, protocol.JobProtocol)
	if err != nil {
		return
	}
	defer s.Reset()
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	for err == nil {
		_, err = s.Write(b)
	}
}

// TestFloods has a member flood the node with what decodes: the node answers
// others meanwhile, takes new jobs, and keeps no more than before.
func TestFloods(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	unknown := protocol.NewCID(protocol.CodecDagCBOR, []byte("no job"))
	claims := protocol.Claim{Job: unknown}
	for i := range 1000 {
		claims.Tasks = append(claims.Tasks, protocol.Key{Index: i})
	}
	many := &protocol.Ping{Boot: 1, Claims: []protocol.Claim{claims, {Job: job, Tasks: claims.Tasks}}}
	for range protocol.MaxInputs {
		many.Stewards = append(many.Stewards, protocol.ShardRef{Job: unknown})
	}
	var offers []protocol.Message
	for i := range 1000 {
		offers = append(offers, &protocol.Offer{Job: unknown, Reservation: uint64(i), Tasks: protocol.MaxOfferBatch})
	}
	replayed := &protocol.Done{Job: job, Number: 1, Receipts: []protocol.SignedReceipt{h.receipt(t, job, protocol.Key{Index: 7}, h.Key())}}
	for name, f := range map[string]struct {
		kind  string
		bytes []byte
		least int64 // messages that must have come
	}{
		"small pings":   {"ping", frames(&protocol.Ping{Boot: 1}), 3000},
		"large pings":   {"ping", frames(many), 300},
		"offers":        {"offer", frames(offers...), 3000},
		"false tasks":   {"done", frames(replayed), 300},
		"announcements": {"announce", frames(&protocol.Announce{Job: job, Have: [][]byte{make([]byte, protocol.MaxTasks/8)}, Reply: true}), 300},
	} {
		t.Run(name, func(t *testing.T) {
			before, came := heap(), n.Status().Received[f.kind]
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() { defer close(over); h.flood(ctx, f.bytes) }()
			defer func() { cancel(); <-over }()
			for began := time.Now(); n.Status().Received[f.kind] < came+f.least; {
				asked := time.Now()
				if asked.Sub(began) > patience {
					t.Fatalf("only %d have come", n.Status().Received[f.kind]-came)
				}
				if st := n.localState(t.Context(), job); st == nil || st.State.Ended() {
					t.Fatalf("the job is %+v", st)
				}
				if took := time.Since(asked); took > 10*time.Second {
					t.Fatalf("the loop answered after %v", took)
				}
			}
			if id := hangingJob(t, n); n.localState(t.Context(), id) == nil {
				t.Fatal("a job that was taken is not known")
			}
			cancel()
			<-over
			if grown := heap() - before; grown > 64<<20 {
				t.Errorf("the node keeps %d bytes more than before", grown)
			}
		})
	}
	if got := n.localState(t.Context(), job); got.State.Ended() {
		t.Fatalf("the job is %+v", got)
	}
}

// TestFloodHoldsUpNobody floods a node whose loop is busy: what another member
// says comes behind no more than the flooder's few places.
func TestFloodHoldsUpNobody(t *testing.T) {
	n := startNode(t)
	flooder, other := joinHostile(t, n, protocol.RoleWork), joinHostile(t, n, protocol.RoleWork)
	busy, free := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	t.Cleanup(release)
	n.loop.post(t.Context(), func(time.Time) { close(busy); <-free })
	<-busy
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan struct{})
	go func() { defer close(over); flooder.flood(ctx, frames(&protocol.Ping{Boot: 1})) }()
	eventually(t, "the flooder waits", func() bool { return n.received.all()["ping"] >= maxWaiting+maxInbound })
	other.says(t, &protocol.Ack{Job: protocol.NewCID(protocol.CodecRaw, nil)}, &protocol.Ack{Job: protocol.NewCID(protocol.CodecRaw, nil)})
	eventually(t, "the other is heard", func() bool { return n.received.all()["ack"] == 2 })
	if waiting := len(n.loop.events); waiting > maxWaiting+16 { // the node's own and the other's are few
		t.Errorf("%d wait for the loop", waiting)
	}
	release()
	cancel()
	<-over
}

// TestTooManyStreams opens one stream more than a peer may have.
func TestTooManyStreams(t *testing.T) {
	n := startNode(t)
	h := joinHostile(t, n, protocol.RoleWork)
	ping := frames(&protocol.Ping{Boot: 1})
	for i := range maxInbound + 1 {
		s, err := h.Host().NewStream(t.Context(), n.id, protocol.JobProtocol)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Reset()
		_, _ = s.Write(ping) // the last is closed to it
		if i < maxInbound {
			eventually(t, "a stream is served", func() bool { return n.Status().Received["ping"] == int64(i+1) })
		}
	}
	eventually(t, "the last stream is refused", func() bool { return n.Status().Refused[string(RefusedFlood)] == 1 })
}

// TestStoringMemberIsBelieved says what a member with the role store can do: it
// states a job's end, and others take its word, as they must take that of the
// steward which did verify it. An invented root ends the job.
func TestStoringMemberIsBelieved(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleStore)
	root := protocol.NewCID(protocol.CodecRaw, []byte("invented"))
	h.says(t, &protocol.Done{Job: job, Facts: []protocol.Signed{h.fact(t, protocol.Fact{Job: job, Kind: protocol.Final, Root: root})}})
	eventually(t, "the job is final", func() bool { return n.localState(t.Context(), job).State == protocol.StateFinal })
	var by peer.ID
	n.loop.do(t.Context(), func(time.Time) { by = n.loop.jobs[job].plan.Ended().By })
	if by != h.ID() {
		t.Fatalf("it was stated by %s", by)
	}
	if refused := n.Status().Refused[string(RefusedFinal)]; refused != 0 {
		t.Fatalf("%d were refused", refused)
	}
}
