package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Commit makes a submitted job one that no longer needs its submitter: it has
// the job's closure held and verified by enough live nodes (see Placement),
// then as many keep the manifest, and only when they do, the fact that makes
// the job run. What fails before leaves nothing behind that runs.
type Commit struct {
	job    protocol.CID
	self   peer.ID // runs this: it keeps manifest and fact already
	place  *Placement
	ranked []peer.ID // nodes that keep ledgers, in the order in which they are stewards
	copies int       // of the closure, once that is verified
	step   Question  // what the hedge asks for; "" while the closure is placed
	hedge  *Hedge
	keep   []peer.ID // keep the manifest, with self
	ended  bool
	why    string
}

// NewCommit returns the commit of a job on node self, which holds its manifest.
// Roots are its closure, want the copies that its manifest asks for; alive live,
// and keepers, some of them, keep blocks and ledgers for others.
func NewCommit(job protocol.CID, roots []protocol.CID, want int, self peer.ID, alive, keepers []peer.ID) *Commit {
	return &Commit{
		job: job, self: self, place: NewPlacement(string(job), roots, want, alive, keepers),
		ranked: slices.DeleteFunc(Rank(string(job), keepers), func(id peer.ID) bool { return id == self }),
	}
}

// SetNodes tells that the view has changed.
func (c *Commit) SetNodes(now time.Time, alive []peer.ID) []Effect {
	if c.hedge != nil {
		for _, id := range c.ranked {
			if !slices.Contains(alive, id) {
				c.hedge.Answered(id, "it is gone")
			}
		}
		return c.Tick(now)
	}
	return append(c.place.SetNodes(now, alive), c.Tick(now)...)
}

// Alive notes that a node which was asked lives and is at work.
func (c *Commit) Alive(now time.Time, id peer.ID) {
	if c.hedge != nil {
		c.hedge.Alive(now, id)
		return
	}
	c.place.Alive(now, id)
}

// Answered takes the reply to an Ask.
func (c *Commit) Answered(now time.Time, r Reply) []Effect {
	switch {
	case c.ended:
		return nil
	case c.step == "":
		return append(c.place.Answered(now, r), c.Tick(now)...)
	case c.step == r.Ask.Question:
		c.hedge.Answered(r.Ask.To, r.why())
	}
	return c.Tick(now)
}

// Tick does what is due.
func (c *Commit) Tick(now time.Time) []Effect {
	var out []Effect
	if c.step == "" && !c.ended {
		out = c.place.Tick(now)
		if c.place.Ended() {
			c.becomeHeld(now)
		}
	}
	if c.step == AskKeep && c.hedge.Ended() {
		c.becomeKept()
	}
	if c.step == AskCommit && c.hedge.Ended() {
		c.becomeCommitted()
	}
	if c.ended || c.hedge == nil {
		return out
	}
	for _, id := range c.hedge.Tick(now) {
		out = append(out, Ask{To: id, Question: c.step, Roots: []protocol.CID{c.job}, Copies: c.copies})
	}
	return out
}

// becomeHeld goes on to the manifest when the closure is held by enough. Who
// was silent until now is asked last.
func (c *Commit) becomeHeld(now time.Time) {
	p := c.place.Result()
	if !p.Enough() {
		c.fail(fmt.Sprintf("only %d of %d nodes hold %s, which the job needs: %s", p.Copies, p.Want, p.Lacks, p.Why))
		return
	}
	c.copies = p.Want
	var late []peer.ID
	c.ranked = slices.DeleteFunc(c.ranked, func(id peer.ID) bool {
		silent := c.place.silent(now, id)
		if silent {
			late = append(late, id)
		}
		return silent
	})
	c.ranked = append(c.ranked, late...)
	c.step, c.hedge = AskKeep, NewHedge(c.copies-1, c.ranked, len(c.ranked))
}

// becomeKept goes on to the fact when enough keep the manifest: those who do
// are asked first.
func (c *Commit) becomeKept() {
	c.keep = c.hedge.Did()
	if len(c.keep) < c.copies-1 {
		c.fail(fmt.Sprintf("only %d of %d nodes could keep the job's manifest: %s", len(c.keep)+1, c.copies, c.hedge.Why()))
		return
	}
	rest := slices.DeleteFunc(slices.Clone(c.ranked), func(id peer.ID) bool { return slices.Contains(c.keep, id) })
	c.step, c.hedge = AskCommit, NewHedge(c.copies-1, append(slices.Clone(c.keep), rest...), len(c.ranked))
}

func (c *Commit) becomeCommitted() {
	if did := len(c.hedge.Did()); did < c.copies-1 {
		c.fail(fmt.Sprintf("only %d of %d nodes could keep that the job is committed: %s; submit it again, it is the same job", did+1, c.copies, c.hedge.Why()))
		return
	}
	c.ended = true
}

func (c *Commit) fail(why string) { c.ended, c.why = true, why }

// Ended reports whether the job is committed, or cannot be now.
func (c *Commit) Ended() bool { return c.ended }

// Failed says why the job is not committed, or "".
func (c *Commit) Failed() string { return c.why }

// Copies is with how many copies the job runs: known from when the closure is
// held.
func (c *Commit) Copies() int { return c.copies }

// Holders are the nodes that hold all that the first tasks read.
func (c *Commit) Holders() []peer.ID { return c.place.Result().All }
