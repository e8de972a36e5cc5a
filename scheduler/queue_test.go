package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// bench is a worker of one slot whose tasks take what its test says, in virtual
// time.
type bench struct {
	w    *Worker
	now  time.Time
	took map[string]time.Duration
	ran  []string // jobs, in the order in which their tasks began
}

func newBench() *bench {
	return &bench{w: NewWorker(1, 1<<40, rand.New(rand.NewPCG(1, 1))), now: time.Unix(1e9, 0), took: map[string]time.Duration{}}
}

func (b *bench) note(effects []Effect) {
	for _, e := range effects {
		if s, ok := e.(Start); ok {
			b.ran = append(b.ran, string(s.Job))
		}
	}
}

// come queues a number of a job's tasks.
func (b *bench) come(job string, tasks int, turn protocol.Turn) {
	a := &protocol.Award{Job: protocol.CID(job), Turn: turn}
	b.took[job] = turn.Estimate
	for i := range tasks {
		a.Tasks = append(a.Tasks, protocol.Awarded{Task: protocol.Key{Index: i}})
	}
	b.note(b.w.Awarded(b.now, "s", a, simNeeds))
}

// serve lets the running task end, a number of times.
func (b *bench) serve(tasks int) {
	for range tasks {
		x := b.w.running[0]
		took := b.took[string(x.job)]
		b.now = b.now.Add(took)
		b.note(b.w.Ended(b.now, x.job, x.task, took))
		b.w.Told(x.job, x.task)
	}
}

func TestQueuePolicies(t *testing.T) {
	turn := func(q protocol.Queue, estimate time.Duration, priority int) protocol.Turn {
		return protocol.Turn{Submitter: "s", Queue: q, Estimate: estimate, Priority: priority}
	}
	for _, c := range []struct {
		name         string
		first, later protocol.Turn
		want         string
	}{
		{"first come", turn(protocol.FirstCome, time.Second, 0), turn(protocol.FirstCome, time.Millisecond, 0), "aaab"},
		{"a short one goes before long ones", turn(protocol.ShortestFirst, time.Second, 0), turn(protocol.ShortestFirst, time.Millisecond, 0), "abaa"},
		{"a long one waits", turn(protocol.ShortestFirst, time.Millisecond, 0), turn(protocol.ShortestFirst, time.Second, 0), "aaab"},
		{"a higher priority goes before", turn(protocol.ByPriority, time.Second, 0), turn(protocol.ByPriority, time.Second, 1), "abaa"},
		{"a lower priority waits", turn(protocol.ByPriority, time.Second, 0), turn(protocol.ByPriority, time.Second, -1), "aaab"},
		{"priority counts against other policies", turn(protocol.FirstCome, time.Second, 0), turn(protocol.ByPriority, time.Second, 5), "abaa"},
		{"without its policy a priority is no more than a number", turn(protocol.FirstCome, time.Second, 0), turn(protocol.FirstCome, time.Second, 5), "aaab"},
	} {
		b := newBench()
		b.come("a", 3, c.first)
		b.come("b", 1, c.later)
		b.serve(4)
		if got := fmt.Sprint(b.ran); got != fmt.Sprint(slices.Collect(func(yield func(string) bool) {
			for _, r := range c.want {
				if !yield(string(r)) {
					return
				}
			}
		})) {
			t.Errorf("%s: ran %s, want %s", c.name, got, c.want)
		}
	}
}

// TestNobodyStarves holds that what is handicapped begins in the end, though
// better placed tasks never stop coming.
func TestNobodyStarves(t *testing.T) {
	for name, turns := range map[string][2]protocol.Turn{
		"priority": {{Submitter: "s", Queue: protocol.ByPriority, Priority: -3, Estimate: time.Second}, {Submitter: "s", Queue: protocol.ByPriority, Priority: 3, Estimate: time.Second}},
		"length":   {{Submitter: "s", Queue: protocol.ShortestFirst, Estimate: 10 * time.Second}, {Submitter: "s", Queue: protocol.ShortestFirst, Estimate: time.Second}},
	} {
		b := newBench()
		b.come("quick 0", 1, turns[1])
		b.come("patient", 1, turns[0])
		for i := range 200 {
			b.come(fmt.Sprint("quick ", i+1), 1, turns[1])
			b.serve(1)
		}
		at := slices.Index(b.ran, "patient")
		if at < 20 {
			t.Errorf("%s: it began as number %d, before those that are better placed", name, at)
		}
		if at < 0 || at > 120 {
			t.Errorf("%s: it began as number %d of 200, so late that it starves", name, at)
		}
	}
}

// TestSubmittersShare holds that a submitter of few tasks does not wait for
// all those of another.
func TestSubmittersShare(t *testing.T) {
	b := newBench()
	b.come("many", 100, protocol.Turn{Submitter: "a", Estimate: time.Second})
	b.serve(10)
	b.come("few", 10, protocol.Turn{Submitter: "b", Estimate: time.Second})
	b.serve(25)
	few := 0
	for _, job := range b.ran {
		if job == "few" {
			few++
		}
	}
	if few != 10 {
		t.Errorf("%d of the 10 tasks of the second submitter began among 25, want all", few)
	}
	if len(b.w.line.next) > 1 {
		t.Errorf("the line remembers %d submitters, one has tasks", len(b.w.line.next))
	}
}

// TestWideTasksWaitForRoom holds that a task takes its slots and its memory, and
// that those behind a wide one do not keep it from beginning.
func TestWideTasksWaitForRoom(t *testing.T) {
	w := NewWorker(4, 10<<30, rand.New(rand.NewPCG(1, 1)))
	now := time.Unix(1e9, 0)
	award := func(job string, tasks int, turn protocol.Turn) int {
		a := &protocol.Award{Job: protocol.CID(job), Turn: turn}
		for i := range tasks {
			a.Tasks = append(a.Tasks, protocol.Awarded{Task: protocol.Key{Index: i}})
		}
		return len(starts(w.Awarded(now, "s", a, simNeeds)))
	}
	if n := award("narrow", 2, protocol.Turn{}); n != 2 {
		t.Fatalf("%d of 2 tasks began", n)
	}
	if n := award("wide", 1, protocol.Turn{Cores: 3}); n != 0 {
		t.Fatal("3 slots were taken where 2 are free")
	}
	if n := award("behind", 1, protocol.Turn{}); n != 0 {
		t.Fatal("a task overtook the one that waits for room")
	}
	if got := w.Ended(now, "narrow", protocol.Key{}, time.Second); len(got) != 1 || got[0].(Start).Job != "wide" {
		t.Fatalf("with 3 slots free: %v", got)
	}
	if got := w.Ended(now, "wide", protocol.Key{}, time.Second); len(got) != 1 {
		t.Fatalf("behind the wide one: %v", got)
	}
	w.Ended(now, "narrow", protocol.Key{Index: 1}, time.Second)
	w.Ended(now, "behind", protocol.Key{}, time.Second)
	if n := award("large", 3, protocol.Turn{Memory: 4 << 30}); n != 2 {
		t.Fatalf("%d tasks of 4 GiB began in 10 GiB", n)
	}
}

// TestLineIsAnOrder holds that what the line serves is always due first, and
// that virtual time never goes back.
func TestLineIsAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLine(rapid.IntRange(1, 8).Draw(t, "slots"))
		var queue []work
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(queue) > 0 && rapid.Bool().Draw(t, "serve") {
				before := l.now
				l.serve(queue[0].begin)
				if l.now < before {
					t.Fatal("virtual time goes back")
				}
				queue = queue[1:]
				continue
			}
			x := work{turn: protocol.Turn{
				Submitter: peer.ID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "submitter")),
				Queue:     rapid.SampledFrom(protocol.Queues()).Draw(t, "queue"),
				Priority:  rapid.IntRange(-protocol.MaxPriority, protocol.MaxPriority).Draw(t, "priority"),
				Estimate:  time.Duration(rapid.Int64Range(0, int64(protocol.MaxEstimate)).Draw(t, "estimate")),
			}}
			x.begin, x.due = l.join(&x.turn, time.Second)
			queue = insert(queue, x)
		}
		if !slices.IsSortedFunc(queue, func(a, b work) int { return int(min(max(a.due-b.due, -1), 1)) }) {
			t.Fatal("the queue is not in the order of due times")
		}
	})
}
