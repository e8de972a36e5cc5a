package scheduler

import (
	"slices"

	"github.com/meshnode/meshnode/protocol"
)

// Layout says which tasks of a job are looked after together. A small job is
// one shard, shard 0. The first stage of a larger one is cut into columns of
// [protocol.ShardLeaves] tasks; column i, with every later task that reads this
// column alone, is shard i+1. All that reads from several columns belongs to
// shard 0, the job shard.
//
// It depends on the manifest alone, so that every node computes the same.
type Layout struct {
	leaves int   // of a column
	tasks  []int // by stage
	width  []int // tasks of a column, by stage, for the stages that are in columns
}

// NewLayout returns the layout of a job's tasks.
func NewLayout(m *protocol.Manifest) *Layout { return layoutOf(m, protocol.ShardLeaves) }

// layoutOf lays a job out in columns of that many leaves. A stage is in columns
// if none of its tasks reads from two of them.
func layoutOf(m *protocol.Manifest, leaves int) *Layout {
	l := &Layout{leaves: leaves}
	width := leaves
	for s, stage := range m.Stages {
		l.tasks = append(l.tasks, stage.Tasks)
		arity := 1
		switch stage.Kind {
		case protocol.MergeStage:
			arity = protocol.MergeArity
		case protocol.ConcatStage:
			arity = protocol.ConcatWidth
		case protocol.ReduceStage:
			arity = leaves + 1 // reads everything
		}
		if m.Stages[0].Tasks > leaves && len(l.width) == s && width%arity == 0 {
			width /= arity
			l.width = append(l.width, width)
		}
	}
	return l
}

// Shards is how many shards the job has.
func (l *Layout) Shards() int {
	if len(l.width) == 0 {
		return 1
	}
	return 1 + ceilDiv(l.tasks[0], l.leaves)
}

// Names reports whether k is a task of the job.
func (l *Layout) Names(k protocol.Key) bool {
	return k.Stage >= 0 && k.Stage < len(l.tasks) && k.Index >= 0 && k.Index < l.tasks[k.Stage]
}

// inColumn reports whether a stage's tasks are in columns.
func (l *Layout) inColumn(stage int) bool { return stage < len(l.width) }

// ShardOf is the shard that task k belongs to.
func (l *Layout) ShardOf(k protocol.Key) int {
	if !l.inColumn(k.Stage) {
		return 0
	}
	return k.Index/l.width[k.Stage] + 1
}

// Range is which tasks of a stage belong to a shard: the first and how many.
func (l *Layout) Range(shard, stage int) (from, count int) {
	switch {
	case l.inColumn(stage) && shard > 0:
		from = (shard - 1) * l.width[stage]
		return from, max(0, min(l.width[stage], l.tasks[stage]-from))
	case !l.inColumn(stage) && shard == 0:
		return 0, l.tasks[stage]
	}
	return 0, 0
}

// View is which tasks of a stage a shard's stewards hear of: its own, and the
// job shard's stewards also of all tops.
func (l *Layout) View(shard, stage int) (from, count int) {
	if shard == 0 && stage == len(l.width)-1 {
		return 0, l.tasks[stage]
	}
	return l.Range(shard, stage)
}

// IsTop reports whether k is the last task over its leaves in its column: the
// job shard reads its result, and knows of nothing below it.
func (l *Layout) IsTop(k protocol.Key) bool { return k.Stage == len(l.width)-1 }

// top is the task in column that task k, which is in a column, leads up to.
func (l *Layout) top(k protocol.Key) protocol.Key {
	last := len(l.width) - 1
	return protocol.Key{Stage: last, Index: k.Index / (l.width[k.Stage] / l.width[last])}
}

// tops are the tasks in which a shard ends; none for the job shard.
func (l *Layout) tops(shard int) []protocol.Key {
	last := len(l.width) - 1
	if shard == 0 || last < 0 {
		return nil
	}
	from, count := l.Range(shard, last)
	out := make([]protocol.Key, count)
	for i := range out {
		out[i] = protocol.Key{Stage: last, Index: from + i}
	}
	return out
}

// Hears are the shards whose stewards are told of what task k gives: its own,
// and for a top the job shard.
func (l *Layout) Hears(k protocol.Key) []int {
	shard := l.ShardOf(k)
	if shard > 0 && l.IsTop(k) {
		return []int{shard, 0}
	}
	return []int{shard}
}

// Tasks is how many tasks a shard has.
func (l *Layout) Tasks(shard int) int {
	n := 0
	for s := range l.tasks {
		_, count := l.Range(shard, s)
		n += count
	}
	return n
}

// Split deals a claim's tasks out by shard, each part with those that run
// first. Tasks that the job does not have are left out.
func (l *Layout) Split(c protocol.Claim) map[int]protocol.Claim {
	out := map[int]protocol.Claim{}
	for i, k := range c.Tasks {
		if !l.Names(k) {
			continue
		}
		shard := l.ShardOf(k)
		part := out[shard]
		part.Job, part.Tasks = c.Job, append(part.Tasks, k)
		if i < c.Running {
			part.Running++
		}
		out[shard] = part
	}
	return out
}

// ByShard deals tasks out by the shard that they belong to. Tasks that the job
// does not have are left out.
func (l *Layout) ByShard(keys []protocol.Key) map[int][]protocol.Key {
	out := map[int][]protocol.Key{}
	for _, k := range keys {
		if l.Names(k) {
			out[l.ShardOf(k)] = append(out[l.ShardOf(k)], k)
		}
	}
	return out
}

// Joined is one claim of two for the same job.
func Joined(a, b protocol.Claim) protocol.Claim {
	return protocol.Claim{
		Job: b.Job, Running: a.Running + b.Running,
		Tasks: slices.Concat(a.Tasks[:a.Running], b.Tasks[:b.Running], a.Tasks[a.Running:], b.Tasks[b.Running:]),
	}
}
