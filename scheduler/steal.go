package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Stealing (Blumofe and Leiserson, 1999) and lifelines (Saraswat and others,
// "Lifeline-based global load balancing", 2011): an idle worker asks another
// for half of what waits there; when it has failed twice it stays registered
// with its next victim, and is sent work when there is some.
const (
	// stealWait is how long a thief waits for its loot.
	stealWait = 150 * time.Millisecond
	// stealPause is what a thief rests after its first failure; twice that
	// after the next, up to stealRest.
	stealPause = 20 * time.Millisecond
	stealRest  = time.Second
	// stealDraw is of how many hinted victims the best is asked.
	stealDraw = 4
	// lifelineAfter is how many failures make a thief wait at its victim.
	lifelineAfter = 2
	// lifelineTTL is how long a victim remembers a thief that waits.
	lifelineTTL = 5 * time.Second
	// maxLifelines bounds the thieves that wait at one victim.
	maxLifelines = 16
	// handedFor is how long a victim goes on claiming what it has handed to a
	// thief, whose own word may take that long to reach the stewards.
	handedFor = 2 * protocol.PingEvery
)

// theft is what a thief has under way.
type theft struct {
	number   uint64
	victim   peer.ID
	until    time.Time // of the wait for the loot
	open     bool
	failures int
	rest     time.Time            // not before
	waits    map[uint64]time.Time // lifelines, until when
}

// lifeline is a thief that waits here.
type lifeline struct {
	thief  peer.ID
	number uint64
	slots  int
	has    protocol.Needs
	until  time.Time
}

// idle reports whether nothing waits here and a slot is free.
func (w *Worker) idle() bool {
	cores, _ := w.used()
	return len(w.queue) == 0 && cores < w.slots && w.held() == 0
}

// Tick begins what had to wait for results to be copied, and steals when this
// node is idle: nodes are the live ones with their hinted load, has is what this
// one can run.
func (w *Worker) Tick(now time.Time, self peer.ID, nodes []Node, has protocol.Needs) []Effect {
	w.expire(now)
	t := &w.theft
	if t.open && !now.Before(t.until) {
		w.failed(now)
	}
	out := w.fill(now)
	if t.open || now.Before(t.rest) || !w.idle() {
		return out
	}
	victim := w.victim(self, nodes)
	if victim == "" {
		return out
	}
	cores, _ := w.used()
	*t = theft{number: w.rng.Uint64(), victim: victim, until: now.Add(stealWait), open: true, failures: t.failures, waits: t.waits}
	m := &protocol.Steal{Number: t.number, Slots: w.slots - cores, Has: has, Lifeline: t.failures >= lifelineAfter}
	if m.Lifeline {
		w.wait(now, t.number)
	}
	return append(out, Send{To: victim, Message: m})
}

// wait remembers that this thief waits at a victim.
func (w *Worker) wait(now time.Time, number uint64) {
	t := &w.theft
	for n, until := range t.waits {
		if !until.After(now) {
			delete(t.waits, n)
		}
	}
	if t.waits == nil {
		t.waits = map[uint64]time.Time{}
	}
	if len(t.waits) < maxLifelines {
		t.waits[number] = now.Add(lifelineTTL)
	}
}

// victim is the one of a few with most waiting by hint, or "".
func (w *Worker) victim(self peer.ID, nodes []Node) peer.ID {
	var busy []Node
	for _, n := range nodes {
		if n.ID != self && n.Load > n.Slots {
			busy = append(busy, n)
		}
	}
	w.rng.Shuffle(len(busy), func(i, j int) { busy[i], busy[j] = busy[j], busy[i] })
	if busy = first(stealDraw, busy); len(busy) == 0 {
		return ""
	}
	return slices.MaxFunc(busy, func(a, b Node) int { return cmp.Compare(a.Load-a.Slots, b.Load-b.Slots) }).ID
}

func (w *Worker) failed(now time.Time) {
	t := &w.theft
	t.open = false
	t.rest = now.Add(min(stealPause<<min(t.failures, 8), stealRest))
	t.failures++
}

// Asked answers a thief with half of what waits here and it can run, the last
// in line, or with nothing. One that would wait is remembered.
func (w *Worker) Asked(now time.Time, thief peer.ID, m *protocol.Steal) []Effect {
	w.expire(now)
	if loot := w.hand(now, thief, m.Number, m.Slots, m.Has); loot != nil {
		return loot
	}
	if m.Lifeline && len(w.lifeline) < maxLifelines {
		w.lifeline = slices.DeleteFunc(w.lifeline, func(l lifeline) bool { return l.thief == thief })
		w.lifeline = append(w.lifeline, lifeline{thief, m.Number, m.Slots, m.Has, now.Add(lifelineTTL)})
	}
	return []Effect{Send{To: thief, Message: &protocol.Loot{Number: m.Number, Last: true}}}
}

// feed sends the thieves that wait here half of what waits here, each.
func (w *Worker) feed(now time.Time) []Effect {
	var out []Effect
	for len(w.lifeline) > 0 && len(w.queue) > 0 {
		l := w.lifeline[0]
		w.lifeline = w.lifeline[1:]
		out = append(out, w.hand(now, l.thief, l.number, l.slots, l.has)...)
	}
	return out
}

// hand takes half of what waits here out of the queue, from its end, and sends
// it; nil when there is nothing that the thief can run.
func (w *Worker) hand(now time.Time, thief peer.ID, number uint64, slots int, has protocol.Needs) []Effect {
	node := Node{Has: has}
	var fit []int // places in the queue
	for i := range w.queue {
		if node.Can(w.queue[i].needs) == "" {
			fit = append(fit, i)
		}
	}
	if len(fit) == 0 || slots == 0 {
		return nil
	}
	fit = fit[len(fit)/2:]
	type kind struct { // tasks of one stage have one turn
		job   protocol.CID
		stage int
	}
	loot := map[kind]*protocol.Loot{}
	var kinds []kind
	inputs := 0
	for _, i := range slices.Backward(fit) {
		x := w.queue[i]
		if inputs += len(x.inputs); inputs > protocol.MaxInputs {
			break
		}
		of := kind{x.job, x.task.Stage}
		if loot[of] == nil {
			loot[of] = &protocol.Loot{Number: number, Job: x.job, Turn: x.turn}
			kinds = append(kinds, of)
		}
		loot[of].Tasks = append(loot[of].Tasks, protocol.Awarded{Task: x.task, Inputs: x.inputs})
		x.until = now.Add(handedFor)
		w.handed = append(w.handed, x)
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	var out []Effect
	for i, of := range kinds {
		loot[of].Last = i == len(kinds)-1
		out = append(out, Send{To: thief, Message: loot[of]})
	}
	return out
}

// Looted takes what a victim has handed over. What nobody asked for is left:
// its stewards will offer it again.
func (w *Worker) Looted(now time.Time, from peer.ID, m *protocol.Loot, needs func(protocol.Key) protocol.Needs) []Effect {
	t := &w.theft
	asked := t.open && t.number == m.Number && t.victim == from
	if !asked && !t.waits[m.Number].After(now) {
		return nil
	}
	if len(m.Tasks) == 0 {
		if asked {
			w.failed(now)
		}
		return nil
	}
	t.failures = 0
	if asked && m.Last {
		t.open = false
	}
	if m.Last {
		delete(t.waits, m.Number)
	}
	stolen := Stole{Job: m.Job, From: from}
	for _, a := range m.Tasks {
		if !w.has(m.Job, a.Task) {
			stolen.Tasks = append(stolen.Tasks, a.Task)
		}
	}
	return append([]Effect{stolen}, w.take(now, m.Job, m.Tasks, m.Turn, needs)...)
}
