package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// maxPlacementRounds bounds how often nodes are asked what they hold before
	// a placement is given up: nodes that restart all the time, or forget what
	// they said, must not keep it going.
	maxPlacementRounds = 8
	// maxSourcesNamed bounds the sources that one request to hold names.
	maxSourcesNamed = protocol.MaxCopies
)

// Placement has whole DAGs held by enough live nodes, and verifies it: it asks
// all nodes what they hold, has what lacks copied, and then asks those that
// count once more. Only a node that has answered twice in a row, under the same
// boot ID and the second time after all copies were made, is counted (rules R1
// and R5). It waits for nobody who is silent while there are others.
type Placement struct {
	roots []protocol.CID
	key   string // of the rendezvous order in which nodes get copies
	want  int
	order []peer.ID // all nodes asked, in that order
	nodes map[peer.ID]*place
	// scattered says that the blocks of a root may lie on several nodes of which
	// none holds all: all are named as sources.
	scattered bool
	last      bool // it is the second one of a settlement

	round   int
	ended   bool
	why     string // the last trouble there was
	sources int    // rotates who is named first
}

// place is what a placement knows of a node.
type place struct {
	counts  bool // keeps blocks for others
	gone    bool // cannot be asked, or is deaf
	refused bool // did not hold what it was asked to
	boot    uint64
	holds   []bool // by root, as it has last said
	sure    []bool // and had said before
	seen    int    // the round of that answer
	asked   time.Time
	heard   time.Time    // when it last answered anything, or gave a sign of life
	open    int          // the round of the question that it has not answered
	copying map[int]bool // the roots that it was asked to hold
	until   time.Time    // another one is asked to hold them then
}

// NewPlacement returns a placement of roots on want nodes. Those of keepers can
// count; all of alive, which are to contain them, may serve as sources.
func NewPlacement(key string, roots []protocol.CID, want int, alive, keepers []peer.ID) *Placement {
	p := &Placement{roots: roots, key: key, want: want, nodes: map[peer.ID]*place{}}
	p.order = Rank(key, alive)
	for _, id := range p.order {
		p.nodes[id] = &place{counts: slices.Contains(keepers, id)}
	}
	return p
}

// SetNodes tells that the view has changed: nodes that no longer live do not
// count. New ones are of the next placement.
func (p *Placement) SetNodes(now time.Time, alive []peer.ID) []Effect {
	for _, id := range p.order {
		if !slices.Contains(alive, id) {
			p.drop(id, "it is gone")
		}
	}
	return p.Tick(now)
}

func (p *Placement) drop(id peer.ID, why string) {
	n := p.nodes[id]
	n.gone, n.open, n.copying = true, 0, nil
	p.why = fmt.Sprintf("node %s: %s", id, why)
}

// Ended reports whether the placement has come to its end, good or bad.
func (p *Placement) Ended() bool { return p.ended }

// Copies is how many copies are wanted, fewer when fewer nodes live.
func (p *Placement) Copies() int {
	n := 0
	for _, id := range p.order {
		if pl := p.nodes[id]; pl.counts && !pl.gone {
			n++
		}
	}
	return min(p.want, n)
}

// Tick does what is due: it begins, moves on, hedges, or ends.
func (p *Placement) Tick(now time.Time) []Effect {
	if p.ended {
		return nil
	}
	p.dropDeaf(now)
	copies := p.Copies()
	switch {
	case copies == 0:
		p.ended, p.why = true, "no node lives that keeps blocks for others"
		return nil
	case p.round == 0:
		return p.ask(now)
	case p.least(p.surely) >= copies:
		p.ended, p.why = true, ""
		return nil
	}
	if p.least(p.said) >= copies && (p.round == 1 || !p.awaits(now)) {
		return p.ask(now)
	}
	if p.awaits(now) {
		return nil
	}
	out := p.copy(now)
	if len(out) == 0 && !p.open() {
		p.ended = true
	}
	return out
}

// dropDeaf gives up nodes that have been silent for too long. One that looks up
// thousands of roots gives signs of life meanwhile, and is waited for.
func (p *Placement) dropDeaf(now time.Time) {
	for _, id := range p.order {
		n := p.nodes[id]
		if n.open > 0 && now.Sub(n.asked) >= deafAfter && now.Sub(n.heard) >= deafAfter || len(n.copying) > 0 && now.Sub(n.until) >= deafAfter {
			p.drop(id, "it does not answer")
		}
	}
}

// ask begins a round of questions: all nodes the first time, then those that
// hold something.
func (p *Placement) ask(now time.Time) []Effect {
	if p.round == maxPlacementRounds {
		p.ended = true
		return nil
	}
	p.round++
	var out []Effect
	for _, id := range p.order {
		n := p.nodes[id]
		n.sure = nil
		if n.gone || p.round > 1 && !slices.Contains(n.holds, true) {
			continue
		}
		if n.open == 0 {
			n.asked = now
		}
		n.open = p.round
		out = append(out, Ask{To: id, Question: AskHeld, Roots: p.roots, Round: p.round, Last: p.last})
	}
	return out
}

// awaits reports whether an answer to a question may come any moment.
func (p *Placement) awaits(now time.Time) bool {
	for _, id := range p.order {
		if n := p.nodes[id]; n.open > 0 && now.Sub(n.asked) < hedgeAfter {
			return true
		}
	}
	return false
}

// silent reports whether a node owes an answer, or is gone.
func (p *Placement) silent(now time.Time, id peer.ID) bool {
	n := p.nodes[id]
	return n.gone || n.open > 0 && now.Sub(n.asked) >= hedgeAfter || len(n.copying) > 0 && !n.until.After(now)
}

// open reports whether anything is still to be answered.
func (p *Placement) open() bool {
	return slices.ContainsFunc(p.order, func(id peer.ID) bool { return p.nodes[id].open > 0 || len(p.nodes[id].copying) > 0 })
}

// said reports whether a node has said in this round that it holds root i,
// surely whether it had said so before, in the same life.
func (p *Placement) said(n *place, i int) bool   { return n.seen == p.round && n.holds[i] }
func (p *Placement) surely(n *place, i int) bool { return n.sure != nil && n.sure[i] }

// count counts the nodes that hold root i.
func (p *Placement) count(i int, holds func(*place, int) bool) int {
	c := 0
	for _, id := range p.order {
		if n := p.nodes[id]; n.counts && !n.gone && holds(n, i) {
			c++
		}
	}
	return c
}

// least is the number of copies of the root that has fewest.
func (p *Placement) least(holds func(*place, int) bool) int {
	least := len(p.order)
	for i := range p.roots {
		least = min(least, p.count(i, holds))
	}
	return least
}

// copy asks nodes, in rendezvous order, to hold what lacks copies. One that was
// asked before and is silent is not counted on.
func (p *Placement) copy(now time.Time) []Effect {
	coming := make([]int, len(p.roots)) // copies there are and that are on their way
	for i := range p.roots {
		coming[i] = p.count(i, func(n *place, i int) bool { return p.said(n, i) || n.copying[i] && n.until.After(now) })
	}
	var out []Effect
	copies := p.Copies()
	for _, id := range p.order {
		n := p.nodes[id]
		if !n.counts || n.gone || n.refused || n.seen == 0 || n.open > 0 || len(n.copying) > 0 {
			continue
		}
		ask := Ask{To: id, Question: AskHold, Round: p.round, Last: p.last}
		copying := map[int]bool{}
		for i, c := range p.roots {
			if coming[i] < copies && !p.said(n, i) && p.named(&ask, i) {
				coming[i]++
				copying[i] = true
				ask.Roots = append(ask.Roots, c)
			}
		}
		if len(copying) > 0 {
			n.copying, n.until = copying, now.Add(hedgeAfter)
			out = append(out, ask)
		}
	}
	return out
}

// named sees to it that the request names a node that holds root i; it reports
// whether there is one, and room for it.
func (p *Placement) named(ask *Ask, i int) bool {
	if p.scattered {
		ask.Sources = first(protocol.MaxSources, slices.DeleteFunc(slices.Clone(p.order), func(id peer.ID) bool { return p.nodes[id].gone }))
		return true
	}
	for from := range p.order {
		id := p.order[(from+p.sources)%len(p.order)]
		if n := p.nodes[id]; n.gone || !p.said(n, i) || slices.Contains(ask.Sources, id) {
			continue
		}
		if len(ask.Sources) < maxSourcesNamed {
			ask.Sources = append(ask.Sources, id)
			p.sources++
		}
		break
	}
	return slices.ContainsFunc(ask.Sources, func(id peer.ID) bool { return p.said(p.nodes[id], i) })
}

// Alive notes that a node which was asked lives and is at work.
func (p *Placement) Alive(now time.Time, id peer.ID) {
	n := p.nodes[id]
	if n == nil {
		return
	}
	n.heard = now
	if len(n.copying) > 0 {
		n.until = now.Add(signEvery)
	}
}

// Answered takes the reply to an Ask.
func (p *Placement) Answered(now time.Time, r Reply) []Effect {
	n := p.nodes[r.Ask.To]
	if n == nil || p.ended {
		return nil
	}
	switch {
	case r.Gone != "":
		p.drop(r.Ask.To, r.Gone)
	case r.Ask.Question == AskHeld:
		n.heard = now
		p.inventory(n, r)
	case r.Ask.Question == AskHold:
		p.copied(n, r)
	}
	return p.Tick(now)
}

// inventory notes what a node says it holds. An answer to an earlier round is
// as good for what may be counted on, but verifies nothing.
func (p *Placement) inventory(n *place, r Reply) {
	if r.Ask.Round == n.open {
		n.open = 0
	}
	if r.Refused != "" || len(r.Held) != len(p.roots) {
		n.refused, p.why = true, fmt.Sprintf("node %s: %s", r.Ask.To, r.why())
		return
	}
	if r.Ask.Round == p.round && p.round > 1 && n.boot == r.Boot {
		n.sure = make([]bool, len(p.roots))
		for i := range n.sure {
			n.sure[i] = n.holds[i] && r.Held[i]
		}
	}
	n.gone, n.boot, n.holds, n.seen = false, r.Boot, r.Held, p.round
}

// copied notes that a node has fetched what it was asked to, or could not. A
// copy that it says it has made is verified in the next round.
func (p *Placement) copied(n *place, r Reply) {
	n.copying = nil
	if !r.ok() {
		n.refused, p.why = true, fmt.Sprintf("node %s: %s", r.Ask.To, r.why())
		return
	}
	if n.boot != r.Boot {
		n.boot, n.holds = r.Boot, make([]bool, len(p.roots))
	}
	for _, c := range r.Ask.Roots {
		n.holds[slices.Index(p.roots, c)] = true
	}
	n.seen = p.round
}

// Placed is what a placement has come to.
type Placed struct {
	Copies int       // of the root that has fewest
	Want   int       // that there should be: as many as nodes live, at most
	All    []peer.ID // hold every root
	Lost   []protocol.CID
	Lacks  protocol.CID // the root that has fewest copies, when they are not enough
	Why    string       // the last trouble there was
}

// Enough reports whether all roots have their copies, verified.
func (r *Placed) Enough() bool { return r.Want > 0 && r.Copies >= r.Want }

// Result is what the placement has come to.
func (p *Placement) Result() Placed {
	out := Placed{Copies: p.least(p.surely), Want: p.Copies(), Why: p.why}
	for _, id := range p.order {
		if n := p.nodes[id]; !n.gone && len(n.sure) > 0 && !slices.Contains(n.sure, false) {
			out.All = append(out.All, id)
		}
	}
	for i, c := range p.roots {
		if p.count(i, p.surely) < out.Want && out.Lacks == "" {
			out.Lacks = c
		}
		if p.round > 0 && !slices.ContainsFunc(p.order, func(id peer.ID) bool { n := p.nodes[id]; return n.seen > 0 && n.holds[i] }) {
			out.Lost = append(out.Lost, c)
		}
	}
	return out
}
