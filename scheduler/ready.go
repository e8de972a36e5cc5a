package scheduler

import "github.com/meshnode/meshnode/protocol"

// needed reports whether task k has to run: it never did, or its result is
// lost and either part of the root, whose copies are yet to be made, or read by
// something that is not done. Of what a top was made from nothing is needed,
// known or not, while the top is there.
func (p *Plan) needed(k protocol.Key) bool {
	t := p.tasks.get(k)
	switch {
	case t.result == "":
		return !p.Layout.inColumn(k.Stage) || p.Layout.IsTop(k) || p.needed(p.Layout.top(k))
	case !t.lost:
		return false
	case k.Stage >= DataStage(p.Manifest):
		return true
	}
	from, count := dependents(p.Manifest, k)
	for i := from; i < from+count; i++ {
		if p.needed(protocol.Key{Stage: k.Stage + 1, Index: i}) {
			return true
		}
	}
	return false
}

// unfinished reports whether something of a column has to run.
func (p *Plan) unfinished(shard int) bool {
	for _, k := range p.Layout.tops(shard) {
		if p.needed(k) {
			return true
		}
	}
	return false
}

// complete reports whether nothing of a shard has to run any more, and nothing
// is known to be lost of what the root joins: of the job shard, whether the root
// is known.
func (p *Plan) complete(shard int) bool {
	if shard > 0 {
		return !p.unfinished(shard) && p.idle(shard)
	}
	if !p.Root().Defined() || !p.idle(0) {
		return false
	}
	for shard := 1; shard < p.Layout.Shards(); shard++ {
		if p.unfinished(shard) {
			return false
		}
	}
	return true
}

// idle reports whether none of a shard's tasks has to run and may.
func (p *Plan) idle(shard int) bool {
	return len(p.Ready(shard, 1, func(protocol.Key) bool { return false })) == 0
}

// ready reports whether all that task k reads is done and at hand.
func (p *Plan) ready(k protocol.Key) bool {
	from, count := dependencies(p.Manifest, k)
	if count > 0 && count == p.Manifest.Stages[k.Stage-1].Tasks && p.known(k.Stage-1) < count {
		return false // cheaper than to look at each
	}
	for i := from; i < from+count; i++ {
		if t := p.tasks.get(protocol.Key{Stage: k.Stage - 1, Index: i}); t.result == "" || t.lost {
			return false
		}
	}
	return true
}

// Ready returns up to limit tasks of one stage of a shard that have to run, may
// run, and are not to be skipped; later stages first, since they free what
// earlier ones made.
func (p *Plan) Ready(shard, limit int, skip func(protocol.Key) bool) []protocol.Key {
	if shard > 0 && p.lost[shard] == 0 && !p.unfinished(shard) {
		return nil
	}
	for s := len(p.Manifest.Stages) - 1; s >= 0; s-- {
		from, count := p.Layout.Range(shard, s)
		if count == 0 || s > 0 && p.known(s-1) == 0 {
			continue
		}
		m, _ := p.meter(protocol.Key{Stage: s, Index: from})
		var out []protocol.Key
		for i := m.low; i < count && len(out) < limit; i++ {
			k := protocol.Key{Stage: s, Index: from + i}
			if t := p.tasks.get(k); t.result != "" && !t.lost {
				if i == m.low {
					m.low++
				}
				continue
			}
			if !skip(k) && p.needed(k) && p.ready(k) {
				out = append(out, k)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}
