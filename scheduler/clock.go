package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxSkew is how far a clock may be off its peers' without harm: expiry is
	// counted in hours, and computers that set their clocks are within a second.
	maxSkew = 30 * time.Second
	// readingFor is how long what a peer said of the time counts. Each is asked
	// every minute, and partners say it four times a second while there is work.
	readingFor = 10 * time.Minute
	// overdueWait is how long a steward acts before it may find its job overdue:
	// by then its fellows have said what time it is.
	overdueWait = 5 * time.Second
	// maxReadings bounds the peers whose clocks are remembered.
	maxReadings = 1024
)

// Clock tells what time it is where time is absolute: a job's expiry stands in
// its manifest, written by another machine. A node whose own clock is far off
// goes by the median of what its peers say and its own, so that neither one
// liar nor any minority can move it.
type Clock struct {
	peers  int // live ones
	ahead  map[peer.ID]reading
	offset time.Duration // in use
	said   bool          // that this clock is off
}

type reading struct {
	by time.Duration // that the peer's clock is ahead of this node's
	at time.Time
}

// NewClock returns a clock that goes by this node's own.
func NewClock() *Clock { return &Clock{ahead: map[peer.ID]reading{}} }

// SetPeers tells how many peers there are. Those that have said nothing of the
// time are taken to agree with this node: a few liars among a few who speak are
// no majority.
func (c *Clock) SetPeers(n int) { c.peers = n }

// Heard notes what a peer has just said of the time. It returns what is worth
// the log, once for each time that this node's clock is found to be off.
func (c *Clock) Heard(now time.Time, from peer.ID, claimed time.Time) []Effect {
	if _, known := c.ahead[from]; claimed.IsZero() || !known && len(c.ahead) >= maxReadings {
		return nil
	}
	// By the calendar: a monotonic reading is of this machine alone.
	c.ahead[from] = reading{claimed.Round(0).Sub(now.Round(0)), now}
	c.offset = 0
	if m := c.median(now); m.Abs() > maxSkew {
		c.offset = m
	}
	if said := c.said; c.offset == 0 || said {
		c.said = said && c.offset != 0
		return nil
	}
	c.said = true
	return []Effect{Noted{What: "this node's clock is off; its peers' is used for expiry", Peer: from, Why: "offset " + c.offset.Round(time.Second).String()}}
}

// median is that of all clocks heard lately and this node's own. Of the two in
// the middle of an even number the one nearer to its own: without a majority
// against it, it is right.
func (c *Clock) median(now time.Time) time.Duration {
	all := []time.Duration{0}
	for id, r := range c.ahead {
		if now.Sub(r.at) > readingFor {
			delete(c.ahead, id)
			continue
		}
		all = append(all, r.by)
	}
	for len(all) <= min(c.peers, maxReadings) {
		all = append(all, 0)
	}
	slices.SortFunc(all, cmp.Compare[time.Duration])
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	if low.Abs() <= high.Abs() {
		return low
	}
	return high
}

// Offset is how far ahead of this node's clock the time is that it goes by: 0
// while its own is good.
func (c *Clock) Offset() time.Duration { return c.offset }

// Now is the time to go by where it is absolute. Without a clock it is now.
func (c *Clock) Now(now time.Time) time.Time {
	if c == nil {
		return now
	}
	return now.Add(c.offset)
}

// SetClock gives a steward the clock by which its job's times are judged.
func (s *Steward) SetClock(c *Clock) { s.clock = c }

// overdue reports whether the job should have ended by now.
func (s *Steward) overdue(now time.Time) bool {
	until := s.plan.Manifest.RunUntil
	return !until.IsZero() && now.Sub(s.since) >= overdueWait && s.clock.Now(now).After(until)
}
