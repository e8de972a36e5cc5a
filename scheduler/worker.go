package scheduler

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Bounds of a worker.
const (
	// bidTTL is how long a bid reserves room: the steward's wait for other
	// bids, and the way back.
	bidTTL = 2 * bidWait
	// leadTime is how long it takes at worst, on a busy machine, until a free
	// slot is given its next task: a worker takes so much work ahead.
	leadTime = 100 * time.Millisecond
	// longTask is the length from which a worker takes no tasks ahead: they
	// are better kept where any idle node can get them.
	longTask = 500 * time.Millisecond
	// maxAhead bounds the tasks that a worker takes ahead for each slot.
	maxAhead = 16
	// maxReservations bounds the bids that are open at once.
	maxReservations = 1024
	// maxQueue bounds the tasks that wait here.
	maxQueue = 4096
	// maxEnding bounds the tasks that have run and of which nobody was told yet,
	// since their results are still being copied: nothing more begins then. All
	// are claimed, and a ping with too many claims is refused as a whole.
	maxEnding = 1024
)

// Worker decides which tasks run on this node, and when; it takes part of
// another node's queue when it has nothing to do, and gives of its own.
type Worker struct {
	slots    int
	memory   int64 // bytes that tasks may be promised
	rng      *rand.Rand
	reserved map[reservation]room
	line     line
	queue    []work // by due time
	running  []work
	ending   []work  // run, but no steward has been told yet
	handed   []work  // to a thief that may not have told the stewards yet
	took     average // of the tasks that ended here
	theft    theft
	lifeline []lifeline
}

type reservation struct {
	by peer.ID
	id uint64
}

type room struct {
	cores int
	until time.Time
}

// NewWorker returns a worker with that many slots, and bytes of memory that its
// tasks may be promised.
func NewWorker(slots int, memory int64, rng *rand.Rand) *Worker {
	return &Worker{slots: slots, memory: memory, rng: rng, reserved: map[reservation]room{}, line: newLine(slots)}
}

// Offered answers an offer with a bid. Missing is how many bytes of the offer's
// inputs this node lacks; refusal, if any, why it cannot run the tasks.
func (w *Worker) Offered(now time.Time, from peer.ID, o *protocol.Offer, missing int64, refusal string) []Effect {
	w.expire(now)
	bid := &protocol.Bid{Job: o.Job, Reservation: o.Reservation, Missing: missing, Refusal: refusal, Free: w.free()}
	if refusal == "" && len(w.reserved) < maxReservations {
		cores := min(max(1, o.Turn.Cores), w.slots)
		ahead, start := w.ahead(now, &o.Turn)
		bid.Tasks = max(0, min((capacity(w.slots, o.Estimate)-ahead)/cores, o.Tasks))
		bid.Start = start
	}
	if bid.Tasks > 0 {
		w.reserved[reservation{from, o.Reservation}] = room{bid.Tasks * max(1, o.Turn.Cores), now.Add(bidTTL)}
	}
	return []Effect{Send{To: from, Message: bid}}
}

// capacity is how many slots' worth of tasks of that length may run and wait on
// a node with that many slots. Where the length is unknown, one waits.
func capacity(slots int, estimate time.Duration) int {
	switch {
	case estimate == 0:
		return slots + 1
	case estimate >= longTask:
		return slots
	}
	return slots * (1 + min(int((leadTime+estimate-1)/estimate), maxAhead))
}

// ahead is what would be served before a task of that turn, in slots, and how
// long that will take.
func (w *Worker) ahead(now time.Time, t *protocol.Turn) (cores int, start time.Duration) {
	_, due := w.line.place(t)
	mean := w.took.mean()
	var busy float64 // many months would overflow a duration
	for i := range w.running {
		x := &w.running[i]
		cores += x.cores(w.slots)
		busy += float64(max(0, cmp.Or(x.turn.Estimate, mean)-now.Sub(x.started))) * float64(x.cores(w.slots))
	}
	for i := range w.queue {
		if x := &w.queue[i]; x.due <= due {
			cores += x.cores(w.slots)
			busy += float64(cmp.Or(x.turn.Estimate, mean)) * float64(x.cores(w.slots))
		}
	}
	held := w.held()
	cores += held
	busy += float64(mean) * float64(held)
	if cores < w.slots {
		return cores, 0
	}
	return cores, time.Duration(min(busy/float64(w.slots), float64(protocol.MaxEstimate)))
}

// free is what nothing that runs here uses.
func (w *Worker) free() protocol.Needs {
	cores, memory := w.used()
	return protocol.Needs{Cores: max(0, w.slots-cores), Memory: max(0, w.memory-memory)}
}

func (w *Worker) used() (cores int, memory int64) {
	for i := range w.running {
		cores += w.running[i].cores(w.slots)
		memory += w.running[i].turn.Memory
	}
	return cores, memory
}

// held is the room that open bids reserve.
func (w *Worker) held() int {
	n := 0
	for _, r := range w.reserved {
		n += r.cores
	}
	return n
}

func (w *Worker) expire(now time.Time) {
	for id, r := range w.reserved {
		if !r.until.After(now) {
			delete(w.reserved, id)
		}
	}
	w.handed = slices.DeleteFunc(w.handed, func(x work) bool { return !x.until.After(now) })
	w.lifeline = slices.DeleteFunc(w.lifeline, func(l lifeline) bool { return !l.until.After(now) })
}

// Awarded queues the tasks of an award, whether or not its reservation still
// stands: refusing work that has travelled here helps nobody. Needs says what
// a node must have to run a task, for those that would steal it.
func (w *Worker) Awarded(now time.Time, from peer.ID, a *protocol.Award, needs func(protocol.Key) protocol.Needs) []Effect {
	delete(w.reserved, reservation{from, a.Reservation})
	return w.take(now, a.Job, a.Tasks, a.Turn, needs)
}

func (w *Worker) take(now time.Time, job protocol.CID, tasks []protocol.Awarded, turn protocol.Turn, needs func(protocol.Key) protocol.Needs) []Effect {
	var fresh []protocol.Key
	for _, t := range tasks {
		if w.has(job, t.Task) || len(w.queue) >= maxQueue {
			continue
		}
		fresh = append(fresh, t.Task)
		x := work{job: job, task: t.Task, inputs: t.Inputs, turn: turn, needs: needs(t.Task)}
		x.begin, x.due = w.line.join(&turn, w.took.mean())
		w.queue = insert(w.queue, x)
	}
	out := append(w.fill(now), w.feed(now)...)
	for i := range w.queue {
		if x := &w.queue[i]; x.job == job && slices.Contains(fresh, x.task) {
			out = append(out, Fetch{Job: job, Task: x.task, Inputs: x.inputs})
		}
	}
	return out
}

func (w *Worker) has(job protocol.CID, k protocol.Key) bool {
	is := func(x work) bool { return x.is(job, k) }
	return slices.ContainsFunc(w.queue, is) || slices.ContainsFunc(w.running, is) || slices.ContainsFunc(w.ending, is)
}

// fill starts what is first in line while there is room for it. What does not
// fit holds up those behind it: else a task that takes many slots would never
// begin.
func (w *Worker) fill(now time.Time) []Effect {
	var out []Effect
	cores, memory := w.used()
	for len(w.queue) > 0 && len(w.ending) < maxEnding {
		next := w.queue[0]
		c, m := next.cores(w.slots), next.turn.Memory
		if cores+c > w.slots || memory+m > w.memory && len(w.running) > 0 {
			break
		}
		cores, memory = cores+c, memory+m
		w.queue = w.queue[1:]
		w.line.serve(next.begin)
		next.started = now
		w.running = append(w.running, next)
		out = append(out, Start{Job: next.job, Task: next.task, Inputs: next.inputs})
	}
	return out
}

// Ended notes that a task that was started has ended, after so long. Its slot
// is free, but it is claimed until Told, so that nobody runs it again while its
// result is being copied.
func (w *Worker) Ended(now time.Time, job protocol.CID, k protocol.Key, took time.Duration) []Effect {
	if at := slices.IndexFunc(w.running, func(x work) bool { return x.is(job, k) }); at >= 0 {
		w.ending = append(w.ending, w.running[at])
		w.running = slices.Delete(w.running, at, at+1)
	}
	w.took.add(took)
	if len(w.queue) == 0 && len(w.running) == 0 {
		w.line.rest()
	}
	return w.fill(now)
}

// Told notes that the end of a task has been sent to the stewards, or that
// there is nothing to tell.
func (w *Worker) Told(job protocol.CID, k protocol.Key) {
	w.ending = slices.DeleteFunc(w.ending, func(x work) bool { return x.is(job, k) })
}

// Drop forgets a job's queued tasks and stops those that run: it has ended.
func (w *Worker) Drop(job protocol.CID) []Effect {
	return w.drop(func(x work) bool { return x.job == job })
}

// Released forgets tasks that are done elsewhere.
func (w *Worker) Released(r *protocol.Release) []Effect {
	return w.drop(func(x work) bool { return x.job == r.Job && slices.Contains(r.Tasks, x.task) })
}

func (w *Worker) drop(match func(work) bool) []Effect {
	w.queue = slices.DeleteFunc(w.queue, match)
	w.handed = slices.DeleteFunc(w.handed, match)
	var out []Effect
	for _, x := range w.running {
		if match(x) {
			out = append(out, Stop{Job: x.job, Task: x.task})
		}
	}
	return out
}

// Load is how many tasks run and wait here.
func (w *Worker) Load() (running, queued int) { return len(w.running), len(w.queue) }

// Claims are the tasks held here, by job: those that run first. What was handed
// to a thief is claimed for a moment more, until the thief has spoken.
func (w *Worker) Claims(now time.Time) []protocol.Claim {
	w.expire(now)
	byJob := map[protocol.CID]*protocol.Claim{}
	var out []protocol.Claim
	note := func(list []work, running int) {
		for _, x := range list {
			c := byJob[x.job]
			if c == nil {
				c = &protocol.Claim{Job: x.job}
				byJob[x.job] = c
			}
			c.Tasks = append(c.Tasks, x.task)
			c.Running += running
		}
	}
	note(w.running, 1)
	note(w.ending, 0)
	note(w.queue, 0)
	note(w.handed, 0)
	for _, c := range byJob {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b protocol.Claim) int { return cmp.Compare(a.Job, b.Job) })
	return out
}
