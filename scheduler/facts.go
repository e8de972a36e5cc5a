package scheduler

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"slices"

	"github.com/meshnode/meshnode/protocol"
)

// Bounds of the facts that a ledger keeps. Of too many the least stay, in an
// order that depends on nothing but the facts, so that the join does not depend
// on the order in which they came.
const (
	// maxFactsOfKind bounds those about the job as a whole, of one kind: each
	// steward may state one.
	maxFactsOfKind = 64
	// maxFailuresPerTask bounds the failed runs of one task: more than a
	// manifest may ask for before the job fails.
	maxFailuresPerTask = protocol.MaxRetries + 28
	// maxFailures bounds the failed runs of one shard.
	maxFailures = 1024
)

// facts are statements about a job. Those about it as a whole belong to the job
// shard, and every shard's stewards hear of them; a failed run belongs to its
// task's shard.
type facts struct {
	layout *Layout
	job    map[protocol.FactKind][]statement // in the order of asked
	runs   map[protocol.Key][]statement      // failed, by digest
	failed map[int]int                       // how many failed runs, by shard
}

type statement struct {
	id     protocol.Digest
	signed protocol.Signed
	open   *protocol.Fact
}

func newFacts(l *Layout) facts {
	return facts{layout: l, job: map[protocol.FactKind][]statement{}, runs: map[protocol.Key][]statement{}, failed: map[int]int{}}
}

func factID(s protocol.Signed) protocol.Digest { return sha256.Sum256(s.Body) }

func byID(a, b statement) int { return bytes.Compare(a.id[:], b.id[:]) }

// byWeight orders failed runs by what they may prove: the program's own failures
// first, then their hosts' troubles, then inputs that could not be read, of
// which there may be many while nodes are away.
func byWeight(a, b statement) int {
	return cmp.Or(cmp.Compare(weight(a.open.Run.Kind), weight(b.open.Run.Kind)), byID(a, b))
}

func weight(k protocol.FailKind) int {
	switch {
	case k.Deterministic():
		return 0
	case k == protocol.FailHost:
		return 1
	}
	return 2
}

// asked orders facts of one kind: the lowest root first, then the earliest.
func asked(a, b statement) int {
	return cmp.Or(cmp.Compare(a.open.Root, b.open.Root), a.open.At.Compare(b.open.At), byID(a, b))
}

// add adds a fact and reports whether it is new and among those that stay.
func (f *facts) add(signed protocol.Signed, open *protocol.Fact) bool {
	s := statement{factID(signed), signed, open}
	if open.Run == nil {
		list, added := enter(f.job[open.Kind], s, maxFactsOfKind, asked)
		f.job[open.Kind] = list
		return added
	}
	k := open.Run.Task
	if !f.layout.Names(k) {
		return false
	}
	before := len(f.runs[k])
	list, added := enter(f.runs[k], s, maxFailuresPerTask, byWeight)
	if !added {
		return false
	}
	shard := f.layout.ShardOf(k)
	f.runs[k], f.failed[shard] = list, f.failed[shard]+len(list)-before
	return f.failed[shard] <= maxFailures || f.dropLast(shard) != s.id
}

// enter puts a statement in its place of a sorted list of bounded length.
func enter(list []statement, s statement, limit int, order func(a, b statement) int) ([]statement, bool) {
	at, found := slices.BinarySearchFunc(list, s, order)
	if found || at == limit {
		return list, false
	}
	return first(limit, slices.Insert(list, at, s)), true
}

// dropLast drops the failed run of a shard that is last by weight, and says
// which.
func (f *facts) dropLast(shard int) protocol.Digest {
	var last protocol.Key
	var least *statement
	for k, list := range f.runs {
		if s := &list[len(list)-1]; f.layout.ShardOf(k) == shard && (least == nil || byWeight(*s, *least) > 0) {
			last, least = k, s
		}
	}
	id := least.id
	f.runs[last] = f.runs[last][:len(f.runs[last])-1]
	if len(f.runs[last]) == 0 {
		delete(f.runs, last)
	}
	f.failed[shard]--
	return id
}

// of are the facts that a shard's stewards know, in a fixed order: those about
// the job, then the shard's failed runs by task.
func (f *facts) of(shard int) []statement {
	var out []statement
	for _, kind := range []protocol.FactKind{protocol.Committed, protocol.Final, protocol.Failed, protocol.Cancelled} {
		out = append(out, f.job[kind]...)
	}
	for _, k := range f.failedTasks(shard) {
		out = append(out, f.runs[k]...)
	}
	return out
}

// failedTasks are the tasks of a shard with failed runs, in order.
func (f *facts) failedTasks(shard int) []protocol.Key {
	var out []protocol.Key
	for k := range f.runs {
		if f.layout.ShardOf(k) == shard {
			out = append(out, k)
		}
	}
	slices.SortFunc(out, protocol.Key.Compare)
	return out
}

// has is which facts a shard's stewards know of.
func (f *facts) has(shard int) map[protocol.Digest]bool {
	out := map[protocol.Digest]bool{}
	for _, s := range f.of(shard) {
		out[s.id] = true
	}
	return out
}
