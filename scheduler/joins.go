package scheduler

import "github.com/meshnode/meshnode/protocol"

// Joins are the tasks of a shard's view whose results the root joins, in order.
func (p *Plan) Joins(shard int) []protocol.Key {
	var out []protocol.Key
	for s := DataStage(p.Manifest); s < len(p.Manifest.Stages); s++ {
		from, count := p.Layout.View(shard, s)
		for i := range count {
			out = append(out, protocol.Key{Stage: s, Index: from + i})
		}
	}
	return out
}

// settles reports whether a shard has results to be copied which the root joins
// and that no other shard knows of.
func (p *Plan) settles(shard int) bool {
	return shard == 0 || DataStage(p.Manifest) < len(p.Layout.width)-1
}

// settle is what a complete shard has to have copied.
func (p *Plan) settle(shard int) Settle {
	joins := p.Joins(shard)
	e := Settle{Job: p.Job, Shard: shard}
	if shard == 0 {
		e.Root = p.Root()
	}
	for _, k := range joins {
		if k.Stage == joins[0].Stage {
			e.Parts = append(e.Parts, k)
		}
		if k.Stage == joins[len(joins)-1].Stage {
			e.Last = append(e.Last, k)
		}
	}
	return e
}
