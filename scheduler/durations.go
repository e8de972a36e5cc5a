package scheduler

import (
	"math"
	"slices"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// average is the mean of durations.
type average struct {
	sum time.Duration
	n   int
}

// add counts one more. It may be a peer's word: a sum that turned negative would
// make estimates that nobody accepts, so it stops at the most there is.
func (a *average) add(d time.Duration) {
	d = min(max(d, 0), protocol.MaxEstimate)
	a.sum += min(d, math.MaxInt64-a.sum)
	a.n++
}

func (a average) mean() time.Duration {
	if a.n == 0 {
		return 0
	}
	return a.sum / time.Duration(a.n)
}

// maxDurations bounds what a distribution remembers: the latest are enough to
// tell what is slow.
const maxDurations = 1024

// durations is how long the tasks of a stage took.
type durations struct {
	average
	recent []time.Duration // a ring once it is full
	sorted []time.Duration // of recent; nil when it has to be made anew
}

func (d *durations) add(took time.Duration) {
	took = min(max(took, 0), protocol.MaxEstimate) // its multiples must not overflow
	if len(d.recent) < maxDurations {
		d.recent = append(d.recent, took)
	} else {
		d.recent[d.n%maxDurations] = took
	}
	d.average.add(took)
	d.sorted = nil
}

// quantile is the duration below which that share of them lies; 0 of none.
func (d *durations) quantile(q float64) time.Duration {
	if len(d.recent) == 0 {
		return 0
	}
	if d.sorted == nil {
		d.sorted = slices.Sorted(slices.Values(d.recent))
	}
	return d.sorted[min(int(q*float64(len(d.sorted))), len(d.sorted)-1)]
}
