package protocol

import (
	"errors"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrBounds is returned for a message or request that decodes and yet holds
// more than the protocol allows, or what no honest peer sends.
var ErrBounds = errors.New("out of bounds")

func (m *Offer) bounded() bool {
	return m.Job.Defined() && m.Tasks > 0 && m.Tasks <= MaxOfferBatch && m.Estimate >= 0 && m.Estimate <= MaxEstimate &&
		len(m.Inputs) <= MaxOfferBatch && allSized(m.Inputs) && m.Needs.bounded() && m.Turn.bounded()
}

func (t *Turn) bounded() bool {
	return t.Queue.known() && t.Priority >= -MaxPriority && t.Priority <= MaxPriority && t.Estimate >= 0 && t.Estimate <= MaxEstimate &&
		t.Cores >= 0 && t.Cores <= MaxCores && t.Memory >= 0
}

func (n Needs) bounded() bool {
	for _, f := range n.Funcs {
		if len(f) > MaxName {
			return false
		}
	}
	return len(n.Funcs) <= MaxStages && len(n.Kinds) <= MaxStages && n.Cores >= 0 && n.Cores <= MaxCores && n.Memory >= 0 && labelsBounded(n.Labels)
}

func labelsBounded(labels []string) bool {
	return len(labels) <= MaxLabels && !slices.ContainsFunc(labels, func(l string) bool { return l == "" || len(l) > MaxName })
}

func (m *Bid) bounded() bool {
	return m.Job.Defined() && m.Tasks >= 0 && m.Tasks <= MaxOfferBatch && m.Start >= 0 && m.Start <= MaxEstimate && m.Missing >= 0 && len(m.Refusal) <= MaxText && m.Free.bounded()
}

func (m *Award) bounded() bool {
	return m.Job.Defined() && len(m.Tasks) <= MaxOfferBatch && awardedBounded(m.Tasks) && m.Turn.bounded()
}

func awardedBounded(tasks []Awarded) bool {
	inputs := 0
	for _, t := range tasks {
		inputs += len(t.Inputs)
		if !t.Task.valid() {
			return false
		}
		for _, in := range t.Inputs {
			if !in.CID.Defined() || in.Size < 0 || len(in.Holders) > MaxCopies || !allNamed(in.Holders) {
				return false
			}
		}
	}
	return inputs <= MaxInputs
}

func (m *Ping) bounded() bool {
	n := 0
	for _, c := range m.Claims {
		n += 1 + len(c.Tasks)
		if !c.Job.Defined() || c.Running < 0 || c.Running > len(c.Tasks) {
			return false
		}
		for _, k := range c.Tasks {
			if !k.valid() {
				return false
			}
		}
	}
	return n <= MaxClaims && len(m.Stewards) <= MaxInputs && !slices.ContainsFunc(m.Stewards, func(r ShardRef) bool { return !r.bounded() }) &&
		len(m.Progress) <= MaxInputs && !slices.ContainsFunc(m.Progress, func(p Progress) bool { return !p.bounded() })
}

func (r *ShardRef) bounded() bool { return r.Job.Defined() && shardBounded(r.Shard) }

func shardBounded(shard int) bool { return shard >= 0 && shard <= MaxShards }

func (p *Progress) bounded() bool {
	return p.Job.Defined() && shardBounded(p.Shard) && p.Done >= 0 && p.Running >= 0 && p.Queued >= 0 && p.Executions >= 0 && p.Executions <= MaxExecutions && len(p.Waiting) <= MaxName*4
}

func (m *Done) bounded() bool {
	return m.Job.Defined() && len(m.Receipts) <= 4*MaxReceiptBatch && len(m.Facts) <= 4*MaxReceiptBatch && shardBounded(m.Shard)
}

func (m *Ack) bounded() bool { return m.Job.Defined() && len(m.Numbers) <= MaxAcks }

func (m *Announce) bounded() bool {
	for _, have := range m.Have {
		if len(have) > MaxTasks/8 {
			return false
		}
	}
	return m.Job.Defined() && len(m.Have) <= MaxStages && len(m.Facts) <= MaxFacts && shardBounded(m.Shard)
}

func (m *Steal) bounded() bool { return m.Slots >= 0 && m.Slots <= MaxCores && m.Has.bounded() }

func (m *Loot) bounded() bool {
	return (m.Job.Defined() || len(m.Tasks) == 0) && len(m.Tasks) <= MaxClaims && awardedBounded(m.Tasks) && m.Turn.bounded()
}

func (m *Stolen) bounded() bool  { return m.Job.Defined() && m.From != "" && keysBounded(m.Tasks) }
func (m *Release) bounded() bool { return m.Job.Defined() && keysBounded(m.Tasks) }
func (m *Lost) bounded() bool    { return m.Job.Defined() && keysBounded(m.Tasks) }

func keysBounded(keys []Key) bool {
	return len(keys) <= MaxClaims && !slices.ContainsFunc(keys, func(k Key) bool { return !k.valid() })
}

func allSized(list []Sized) bool {
	return !slices.ContainsFunc(list, func(s Sized) bool { return !s.CID.Defined() || s.Size < 0 })
}

// timeBounded takes the times that can be shown: JSON ends with the year 9999,
// and a time is shown in whatever zone.
func timeBounded(t time.Time) bool { return t.Year() >= 0 && t.Year() < 9999 }

// allNamed takes no absent peer: it would decode, and yet not survive the way
// to another.
func allNamed(ids []peer.ID) bool { return !slices.Contains(ids, "") }

func allDefined(cids []CID) bool { return !slices.Contains(cids, "") }

func (r *Request) bounded() bool {
	n, ok := 0, true
	is := func(present, bounded bool) {
		if present {
			n, ok = n+1, ok && bounded
		}
	}
	is(r.Hold != nil, r.Hold.bounded())
	is(r.Held != nil, r.Held.bounded())
	is(r.Submit != nil, r.Submit.bounded())
	is(r.Commit != nil, r.Commit.bounded())
	is(r.Status != nil, r.Status.bounded())
	is(r.Jobs != nil, r.Jobs.bounded())
	is(r.Runs != nil, r.Runs.bounded())
	is(r.Cancel != nil, r.Cancel.bounded())
	is(r.Explain != nil, r.Explain.bounded())
	return n == 1 && ok
}

func (h *Hold) bounded() bool {
	return h != nil && len(h.Roots) <= MaxRoots && allDefined(h.Roots) && len(h.Sources) <= MaxSources && allNamed(h.Sources) && len(h.Receipts) <= 4*MaxReceiptBatch
}

func (h *Held) bounded() bool { return h != nil && len(h.Roots) <= MaxRoots && allDefined(h.Roots) }

func (s *Submit) bounded() bool { return s != nil && len(s.Manifest) <= MaxManifest }

func (c *Commit) bounded() bool {
	return c != nil && len(c.Manifest) <= MaxManifest && len(c.Facts) <= MaxFacts
}

func (j *JobRef) bounded() bool {
	return j != nil && j.Job.Defined() && shardBounded(j.Shard) && j.From >= 0
}

func (e *Explain) bounded() bool {
	return e != nil && e.Job.Defined() && shardBounded(e.Shard) && (e.Task == nil || e.Task.valid()) && e.From >= 0
}

func (l *JobList) bounded() bool { return l != nil && l.Limit >= 0 }

func (c *Cancel) bounded() bool { return c != nil && c.Job.Defined() }
