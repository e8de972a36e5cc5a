package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// shortWeight is how many times its expected length a task steps back
	// under shortest-job-first: what is ten times as long lets a hundred times
	// its length go before, and no more, so that it starts some day.
	shortWeight = 10
	// leastCost is what a task of unknown length is taken to cost.
	leastCost = time.Millisecond
	// lineEnd is where virtual time stops, so that no handicap on top of it
	// overflows: a peer may say of each task that it takes a month.
	lineEnd = time.Duration(1 << 62)
)

// line is the order in which tasks that wait on one node are served: the one
// that is due first. Every policy is a handicap on the same scale, so jobs of
// different policies wait in one line, and all of them age: what waits keeps
// its due time while that of newcomers moves on.
//
// The scale is the virtual time of start-time fair queueing (Goyal, Vin and
// Cheng, 1996): a submitter's tasks are due one after another, by what they
// cost, so that submitters share a node however many tasks each has.
type line struct {
	slots int
	now   time.Duration             // virtual: where the task began that was served last
	next  map[peer.ID]time.Duration // by submitter: where its next task begins, if later than now
}

func newLine(slots int) line { return line{slots: slots, next: map[peer.ID]time.Duration{}} }

// place says when a task of that turn would begin, and when it would be due,
// were it to join now.
func (l *line) place(t *protocol.Turn) (begin, due time.Duration) {
	begin = max(l.now, l.next[t.Submitter])
	return begin, begin + handicap(t)
}

// join counts a task of that turn into its submitter's share; one of unknown
// length as what tasks take here on the average.
func (l *line) join(t *protocol.Turn, mean time.Duration) (begin, due time.Duration) {
	begin, due = l.place(t)
	cost := max(cmp.Or(t.Estimate, min(mean, protocol.MaxEstimate)), leastCost) / time.Duration(l.slots) * time.Duration(min(max(1, t.Cores), l.slots))
	l.next[t.Submitter] = min(begin+cost, lineEnd)
	return begin, due
}

// rest notes that nothing runs or waits: all submitters begin alike again, and
// virtual time from its start.
func (l *line) rest() {
	l.now = 0
	clear(l.next)
}

// serve notes that a task begins; what is behind it is forgotten.
func (l *line) serve(begin time.Duration) {
	l.now = max(l.now, begin)
	for id, next := range l.next {
		if next <= l.now {
			delete(l.next, id)
		}
	}
}

// handicap is how much later, or earlier, than in the order of arrival a task
// is due.
func handicap(t *protocol.Turn) time.Duration {
	switch t.Queue {
	case protocol.ShortestFirst:
		return min(t.Estimate, protocol.MaxEstimate) * shortWeight
	case protocol.ByPriority:
		return -time.Duration(t.Priority) * protocol.AgingStep
	}
	return 0
}

// work is a task that waits, runs or has run here.
type work struct {
	job        protocol.CID
	task       protocol.Key
	inputs     []protocol.Input
	turn       protocol.Turn
	needs      protocol.Needs
	begin, due time.Duration
	started    time.Time // when it began to run
	until      time.Time // while it is still claimed, of one that was handed on
}

func (x *work) is(job protocol.CID, k protocol.Key) bool { return x.job == job && x.task == k }

// cores are the slots that it takes: all of a node at most.
func (x *work) cores(slots int) int { return min(max(1, x.turn.Cores), slots) }

// insert keeps a queue sorted by due time, then by arrival.
func insert(queue []work, x work) []work {
	at, _ := slices.BinarySearchFunc(queue, x, func(a, b work) int {
		return cmp.Or(cmp.Compare(a.due, b.due), -1) // behind its equals
	})
	return slices.Insert(queue, at, x)
}
