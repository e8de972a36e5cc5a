package scheduler

import "github.com/meshnode/meshnode/protocol"

// table holds something for each task. Room for a column's tasks of one stage
// is made when the first of them is written: a node that only works for a large
// job knows few of its tasks.
type table[T any] struct {
	layout *Layout
	chunks [][][]T // by stage and column
}

func newTable[T any](l *Layout) table[T] {
	t := table[T]{layout: l, chunks: make([][][]T, len(l.tasks))}
	for s := range t.chunks {
		t.chunks[s] = make([][]T, l.columns(s))
	}
	return t
}

// columns is in how many pieces a stage is cut.
func (l *Layout) columns(stage int) int {
	if l.inColumn(stage) {
		return l.Shards() - 1
	}
	return 1
}

// place is where task k lies among its stage's pieces.
func (l *Layout) place(k protocol.Key) (column, at int) {
	if l.inColumn(k.Stage) {
		return k.Index / l.width[k.Stage], k.Index % l.width[k.Stage]
	}
	return 0, k.Index
}

// at is the place of task k, to be written.
func (t *table[T]) at(k protocol.Key) *T {
	column, i := t.layout.place(k)
	chunk := &t.chunks[k.Stage][column]
	if *chunk == nil {
		_, count := t.layout.Range(t.layout.ShardOf(k), k.Stage)
		*chunk = make([]T, count)
	}
	return &(*chunk)[i]
}

// get is what was written for task k, or the zero value.
func (t *table[T]) get(k protocol.Key) (v T) {
	column, i := t.layout.place(k)
	if chunk := t.chunks[k.Stage][column]; chunk != nil {
		v = chunk[i]
	}
	return v
}

// each walks, in order, the tasks of a shard's view for which there is room.
func (t *table[T]) each(shard int, f func(protocol.Key, *T)) {
	for s := range t.chunks {
		from, count := t.layout.View(shard, s)
		for i := from; i < from+count; {
			k := protocol.Key{Stage: s, Index: i}
			column, at := t.layout.place(k)
			if chunk := t.chunks[s][column]; chunk != nil {
				f(k, &chunk[at])
				i++
				continue
			}
			_, skip := t.layout.Range(t.layout.ShardOf(k), s)
			i += skip
		}
	}
}

// written reports whether there is room for a task of a shard.
func (t *table[T]) written(shard int) bool {
	for s := range t.chunks {
		if from, count := t.layout.Range(shard, s); count > 0 {
			if column, _ := t.layout.place(protocol.Key{Stage: s, Index: from}); t.chunks[s][column] != nil {
				return true
			}
		}
	}
	return false
}
