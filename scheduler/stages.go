package scheduler

import "github.com/meshnode/meshnode/protocol"

// Chain describes a job of the map and reduce kind.
type Chain struct {
	Splits     int
	Map        protocol.Program
	Reduce     *protocol.Program
	Combine    *protocol.Program
	Partitions int // of the reduce
}

// Stages lays a chain out as stages: a map; with a reduce, a tree of merges and
// the reduce; then the tree that joins all results into one file.
func Stages(c Chain) []protocol.Stage {
	stages := []protocol.Stage{{Name: "map", Kind: protocol.MapStage, Tasks: c.Splits, Program: &c.Map}}
	tasks := c.Splits
	if c.Reduce != nil {
		stages[0].Combine, stages[0].Partitions = c.Combine, c.Partitions
		for tasks > mergeBelow(c) {
			tasks = ceilDiv(tasks, protocol.MergeArity)
			stages = append(stages, protocol.Stage{Name: "merge", Kind: protocol.MergeStage, Tasks: tasks, Combine: c.Combine, Partitions: c.Partitions})
		}
		tasks = c.Partitions
		stages = append(stages, protocol.Stage{Name: "reduce", Kind: protocol.ReduceStage, Tasks: tasks, Program: c.Reduce})
	}
	for {
		tasks = ceilDiv(tasks, protocol.ConcatWidth)
		stages = append(stages, protocol.Stage{Name: "concat", Kind: protocol.ConcatStage, Tasks: tasks})
		if tasks == 1 {
			return stages
		}
	}
}

// mergeBelow is how many shuffle files a reduce may read. A combiner makes
// what is merged smaller, so its tree goes down to the arity; without one each
// level would only copy, and the tree serves just to bound the fan-in.
func mergeBelow(c Chain) int {
	if c.Combine != nil {
		return protocol.MergeArity
	}
	return protocol.MaxFanIn
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// dependencies returns the tasks of the stage before that task k reads: the
// first and how many. The first stage reads none.
func dependencies(m *protocol.Manifest, k protocol.Key) (from, count int) {
	if k.Stage == 0 {
		return 0, 0
	}
	before := m.Stages[k.Stage-1].Tasks
	width := before
	switch m.Stages[k.Stage].Kind {
	case protocol.MergeStage:
		width = protocol.MergeArity
	case protocol.ConcatStage:
		width = protocol.ConcatWidth
	case protocol.ReduceStage:
		return 0, before
	}
	from = k.Index * width
	return from, min(width, before-from)
}

// dependents returns the tasks of the next stage that read task k's result:
// the first and how many.
func dependents(m *protocol.Manifest, k protocol.Key) (from, count int) {
	if k.Stage+1 >= len(m.Stages) {
		return 0, 0
	}
	switch next := m.Stages[k.Stage+1]; next.Kind {
	case protocol.MergeStage:
		return k.Index / protocol.MergeArity, 1
	case protocol.ConcatStage:
		return k.Index / protocol.ConcatWidth, 1
	default:
		return 0, next.Tasks
	}
}

// DataStage is the stage whose results, in order, the root joins.
func DataStage(m *protocol.Manifest) int {
	s := len(m.Stages) - 1
	for s > 0 && m.Stages[s].Kind == protocol.ConcatStage {
		s--
	}
	return s
}
