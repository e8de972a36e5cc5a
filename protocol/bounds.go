package protocol

import (
	"errors"
	"slices"
)

// ErrBounds is returned for a message or request that decodes and yet holds
// more than the protocol allows, or what no honest peer sends.
var ErrBounds = errors.New("out of bounds")

func (m *Offer) bounded() bool {
	return m.Job.Defined() && m.Tasks > 0 && m.Tasks <= MaxOfferBatch && m.Estimate >= 0 &&
		len(m.Inputs) <= MaxOfferBatch && allDefined(m.Inputs) && m.Needs.bounded()
}

func (n Needs) bounded() bool {
	for _, f := range n.Funcs {
		if len(f) > MaxName {
			return false
		}
	}
	return len(n.Funcs) <= MaxStages && len(n.Kinds) <= MaxStages
}

func (m *Bid) bounded() bool {
	return m.Job.Defined() && m.Tasks >= 0 && m.Tasks <= MaxOfferBatch && m.Start >= 0 && m.Missing >= 0 && len(m.Refusal) <= MaxText
}

func (m *Award) bounded() bool {
	inputs := 0
	for _, t := range m.Tasks {
		inputs += len(t.Inputs)
		if !t.Task.valid() {
			return false
		}
		for _, in := range t.Inputs {
			if !in.CID.Defined() || in.Size < 0 || len(in.Holders) > MaxCopies {
				return false
			}
		}
	}
	return m.Job.Defined() && len(m.Tasks) <= MaxOfferBatch && inputs <= MaxInputs
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
	return n <= MaxClaims && len(m.Stewards) <= MaxInputs
}

func (m *Done) bounded() bool {
	return m.Job.Defined() && len(m.Receipts) <= 4*MaxReceiptBatch && len(m.Facts) <= 4*MaxReceiptBatch
}

func (m *Ack) bounded() bool { return m.Job.Defined() }

func (m *Announce) bounded() bool {
	for _, have := range m.Have {
		if len(have) > MaxTasks/8 {
			return false
		}
	}
	return m.Job.Defined() && len(m.Have) <= MaxStages && len(m.Facts) <= MaxFacts
}

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
	return n == 1 && ok
}

func (h *Hold) bounded() bool {
	return h != nil && len(h.Roots) <= MaxRoots && allDefined(h.Roots) && len(h.Sources) <= MaxSources
}

func (h *Held) bounded() bool { return h != nil && len(h.Roots) <= MaxRoots && allDefined(h.Roots) }

func (s *Submit) bounded() bool { return s != nil && len(s.Manifest) <= MaxManifest }

func (c *Commit) bounded() bool {
	return c != nil && len(c.Manifest) <= MaxManifest && len(c.Facts) <= MaxFacts
}

func (j *JobRef) bounded() bool { return j != nil && j.Job.Defined() }

func (l *JobList) bounded() bool { return l != nil && l.Limit >= 0 }

func (c *Cancel) bounded() bool { return c != nil && c.Job.Defined() }
