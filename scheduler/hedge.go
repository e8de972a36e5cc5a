package scheduler

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Hedge asks nodes in turn for the same thing until enough have done it: as
// many at once as are wanted, and one more for each that refuses or is silent
// for longer than an answer takes. A late answer still counts.
type Hedge struct {
	want    int
	targets []peer.ID // not asked yet
	most    int       // refusals after which nobody more is asked
	open    []hedged
	did     []peer.ID
	failed  int
	why     string // of the last failure
}

type hedged struct {
	id    peer.ID
	until time.Time // another one is asked then
}

// NewHedge returns a hedge that wants so many of targets, in that order, and
// gives up after more than that many refusals.
func NewHedge(want int, targets []peer.ID, most int) *Hedge {
	return &Hedge{want: want, targets: targets, most: most}
}

// Tick returns the nodes that are to be asked now.
func (h *Hedge) Tick(now time.Time) []peer.ID {
	var out []peer.ID
	for len(h.targets) > 0 && h.failed <= h.most && len(h.did)+h.awaited(now) < h.want {
		id := h.targets[0]
		h.targets = h.targets[1:]
		h.open = append(h.open, hedged{id, now.Add(hedgeAfter)})
		out = append(out, id)
	}
	return out
}

// awaited counts those who may answer any moment.
func (h *Hedge) awaited(now time.Time) int {
	n := 0
	for _, a := range h.open {
		if a.until.After(now) {
			n++
		}
	}
	return n
}

// Alive notes that a node which was asked lives and is at work.
func (h *Hedge) Alive(now time.Time, id peer.ID) {
	for i := range h.open {
		if h.open[i].id == id {
			h.open[i].until = now.Add(signEvery)
		}
	}
}

// Answered notes an answer: why is empty when the node did what was asked.
func (h *Hedge) Answered(id peer.ID, why string) {
	for i := range h.open {
		if h.open[i].id != id {
			continue
		}
		h.open = append(h.open[:i:i], h.open[i+1:]...)
		if why == "" {
			h.did = append(h.did, id)
		} else {
			h.failed++
			h.why = why
		}
		return
	}
}

// Did are those who have done it.
func (h *Hedge) Did() []peer.ID { return h.did }

// Why is the reason of the last one who did not.
func (h *Hedge) Why() string { return h.why }

// Ended reports whether enough have done it, or nobody is left who might.
func (h *Hedge) Ended() bool {
	return len(h.did) >= h.want || len(h.open) == 0 && (len(h.targets) == 0 || h.failed > h.most)
}
