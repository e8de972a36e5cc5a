package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// forgetAfter is how long after its expiry a job is remembered: as long as
	// anybody may be late, by its clock or its messages, and meet one who has
	// forgotten already.
	forgetAfter = 10 * time.Minute
	// memberFor is how long ago a member may have been seen to count among
	// those whose copies a release waits for: a machine that is switched off
	// over night comes back.
	memberFor = 24 * time.Hour
)

// Life is what may still happen to a job. Its times are absolute and stand in
// its manifest, so that all nodes agree and nothing that comes late can give a
// job more time (rule R7).
type Life int

const (
	Running   Life = iota // tasks may begin
	Kept                  // nothing new runs; the result is kept
	Expired               // nothing of it is accepted any more
	Forgotten             // nobody remembers it
)

// LifeOf is how far a job's life is at a time (see Clock.Now).
func LifeOf(m *protocol.Manifest, at time.Time) Life {
	switch {
	case at.After(m.KeepUntil.Add(forgetAfter)):
		return Forgotten
	case at.After(m.KeepUntil):
		return Expired
	case at.After(m.RunUntil):
		return Kept
	}
	return Running
}

// Member is one that may hold copies.
type Member struct {
	ID      peer.ID
	Alive   bool
	Seen    time.Time
	Left    bool
	NoStore bool // its membership lacks that role: it keeps nothing for others
}

// Release decides when a node may drop what a job referenced: its inputs, which
// somebody may still have to read again while its result can be lost. Not
// before the job has ended (rule R4), and then not on anybody's word: the node
// verifies for itself that enough members hold the whole root and its receipt
// (rule R3).
type Release struct {
	root  protocol.CID
	want  int // holders
	ask   []peer.ID
	since time.Time
	open  map[peer.ID]bool
	held  []peer.ID
	ended bool
	why   string
}

// NewRelease returns the release of a job's inputs by a node that knows the
// plan. At is the time by which the job expires, now that by which members were
// seen.
func NewRelease(now, at time.Time, p *Plan, members []Member) *Release {
	r := &Release{open: map[peer.ID]bool{}}
	end := p.Ended()
	switch life := LifeOf(p.Manifest, at); {
	case life >= Expired, end != nil && end.Kind == protocol.Cancelled:
		r.ended = true // nothing can need them any more
	case end == nil:
		r.refuse("the job has not ended")
	case end.Kind == protocol.Failed && life == Running:
		// Somebody who has not heard of it may still make it final.
		r.refuse("the job has failed, and may run until " + p.Manifest.RunUntil.Format(time.RFC3339))
	case end.Kind == protocol.Failed:
		r.ended = true
	default:
		r.root = end.Root
		for _, m := range members {
			if !m.NoStore && !m.Left && (m.Alive || now.Sub(m.Seen) < memberFor) {
				r.want++
			}
			if !m.NoStore && m.Alive {
				r.ask = append(r.ask, m.ID)
			}
		}
		r.want = min(r.want, p.Manifest.Copies)
		slices.Sort(r.ask)
	}
	return r
}

func (r *Release) refuse(why string) { r.ended, r.why = true, why }

// Tick asks who holds the root, and ends when enough do or no more will say so.
func (r *Release) Tick(now time.Time) []Effect {
	var out []Effect
	switch {
	case r.ended:
	case r.since.IsZero():
		r.since = now
		for _, id := range r.ask {
			r.open[id] = true
			out = append(out, Ask{To: id, Question: AskHeld, Roots: []protocol.CID{r.root}})
		}
	case len(r.held) >= r.want:
		r.ended = true
	case len(r.open) == 0 || now.Sub(r.since) >= deafAfter:
		r.refuse(fmt.Sprintf("only %d of %d nodes are known to hold the whole result", len(r.held), r.want))
	}
	return out
}

// Answered takes the reply to an Ask. A node counts once.
func (r *Release) Answered(now time.Time, a Reply) []Effect {
	if r.open[a.Ask.To] && a.ok() && len(a.Held) == 1 && a.Held[0] {
		r.held = append(r.held, a.Ask.To)
	}
	delete(r.open, a.Ask.To)
	return r.Tick(now)
}

// SetNodes does nothing: who is gone does not answer, and still has to be
// replaced.
func (r *Release) SetNodes(time.Time, []peer.ID) []Effect { return nil }

// Alive does nothing: the question costs nothing to answer.
func (r *Release) Alive(time.Time, peer.ID) {}

// Ended reports whether it is decided.
func (r *Release) Ended() bool { return r.ended }

// Failed says why nothing may be dropped, or "".
func (r *Release) Failed() string { return r.why }
