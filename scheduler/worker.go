package scheduler

import (
	"cmp"
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
	// prefetchBelow is the task length under which a worker takes tasks ahead:
	// longer ones are better kept where any idle node can get them.
	prefetchBelow = 500 * time.Millisecond
	// maxReservations bounds the bids that are open at once.
	maxReservations = 1024
	// maxQueue bounds the tasks that wait here.
	maxQueue = 4096
)

// Worker decides which tasks run on this node, and when: first come, first
// served, as many at once as it has slots.
type Worker struct {
	slots    int
	reserved map[reservation]room
	queue    []work
	running  []work
	ending   []work  // run, but no steward has been told yet
	took     average // of the tasks that ended here
}

type reservation struct {
	by peer.ID
	id uint64
}

type room struct {
	tasks int
	until time.Time
}

type work struct {
	job    protocol.CID
	task   protocol.Key
	inputs []protocol.Input
}

// NewWorker returns a worker with that many slots.
func NewWorker(slots int) *Worker {
	return &Worker{slots: slots, reserved: map[reservation]room{}}
}

// Offered answers an offer with a bid. Missing is how many bytes of the offer's
// inputs this node lacks; refusal, if any, why it cannot run the tasks.
func (w *Worker) Offered(now time.Time, from peer.ID, o *protocol.Offer, missing int64, refusal string) []Effect {
	w.expire(now)
	bid := &protocol.Bid{Job: o.Job, Reservation: o.Reservation, Missing: missing, Refusal: refusal}
	if refusal == "" && len(w.reserved) < maxReservations {
		load := len(w.running) + len(w.queue) + w.held()
		capacity := w.slots
		if o.Estimate > 0 && o.Estimate < prefetchBelow {
			capacity *= 2
		}
		bid.Tasks = max(0, min(capacity-load, o.Tasks))
		if over := load - w.slots + 1; over > 0 {
			bid.Start = w.took.mean() * time.Duration(over) / time.Duration(w.slots)
		}
	}
	if bid.Tasks > 0 {
		w.reserved[reservation{from, o.Reservation}] = room{bid.Tasks, now.Add(bidTTL)}
	}
	return []Effect{Send{To: from, Message: bid}}
}

// held is the room that open bids reserve.
func (w *Worker) held() int {
	n := 0
	for _, r := range w.reserved {
		n += r.tasks
	}
	return n
}

func (w *Worker) expire(now time.Time) {
	for id, r := range w.reserved {
		if !r.until.After(now) {
			delete(w.reserved, id)
		}
	}
}

// Awarded queues the tasks of an award, whether or not its reservation still
// stands: refusing work that has travelled here helps nobody.
func (w *Worker) Awarded(from peer.ID, a *protocol.Award) []Effect {
	delete(w.reserved, reservation{from, a.Reservation})
	for _, t := range a.Tasks {
		if !w.has(a.Job, t.Task) && len(w.queue) < maxQueue {
			w.queue = append(w.queue, work{a.Job, t.Task, t.Inputs})
		}
	}
	return w.fill()
}

func (w *Worker) has(job protocol.CID, k protocol.Key) bool {
	is := func(x work) bool { return x.job == job && x.task == k }
	return slices.ContainsFunc(w.queue, is) || slices.ContainsFunc(w.running, is) || slices.ContainsFunc(w.ending, is)
}

// fill starts queued tasks while slots are free.
func (w *Worker) fill() []Effect {
	var out []Effect
	for len(w.running) < w.slots && len(w.queue) > 0 {
		next := w.queue[0]
		w.queue = w.queue[1:]
		w.running = append(w.running, next)
		out = append(out, Start{Job: next.job, Task: next.task, Inputs: next.inputs})
	}
	return out
}

// Ended notes that a task that was started has ended, after so long. Its slot
// is free, but it is claimed until Told, so that nobody runs it again while its
// result is being copied.
func (w *Worker) Ended(job protocol.CID, k protocol.Key, took time.Duration) []Effect {
	is := func(x work) bool { return x.job == job && x.task == k }
	if at := slices.IndexFunc(w.running, is); at >= 0 {
		w.ending = append(w.ending, w.running[at])
		w.running = slices.Delete(w.running, at, at+1)
	}
	w.took.sum += took
	w.took.n++
	return w.fill()
}

// Told notes that the end of a task has been sent to the stewards, or that
// there is nothing to tell.
func (w *Worker) Told(job protocol.CID, k protocol.Key) {
	w.ending = slices.DeleteFunc(w.ending, func(x work) bool { return x.job == job && x.task == k })
}

// Drop forgets a job's queued tasks and stops those that run: it has ended.
func (w *Worker) Drop(job protocol.CID) []Effect {
	w.queue = slices.DeleteFunc(w.queue, func(x work) bool { return x.job == job })
	var out []Effect
	for _, x := range w.running {
		if x.job == job {
			out = append(out, Stop{Job: job, Task: x.task})
		}
	}
	return out
}

// Load is how many tasks run and wait here.
func (w *Worker) Load() (running, queued int) { return len(w.running), len(w.queue) }

// Claims are the tasks held here, by job: those that run first.
func (w *Worker) Claims() []protocol.Claim {
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
	for _, c := range byJob {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b protocol.Claim) int { return cmp.Compare(a.Job, b.Job) })
	return out
}
