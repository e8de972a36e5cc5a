package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// experiment is one case: which jobs, on which mesh, and what they may cost.
type experiment struct {
	name, what string
	mesh       shape
	jobs       []batch // submitted one after another at one node
	target     target
}

// shape is what a mesh looks like. Meshes of one shape are one mesh.
type shape struct {
	nodes   int
	large   int  // of them, with largeSlots slots; the others have one
	stutter bool // the last node stands still most of the time
}

// batch is one job: the lengths of its tasks, and the length of an input line,
// of which each task reads one.
type batch struct {
	name    string
	lengths []time.Duration
	line    int
	policy  protocol.Policy
	require protocol.Require
}

// target is what the median of the trials may be. Zero is no target.
type target struct {
	ratio    float64 // makespan over its bound
	messages float64 // of all nodes, per task
}

// The cases of WORKLOADS and what they may cost.
const (
	evenTasks   = 400
	evenLength  = 50 * time.Millisecond
	evenRatio   = 1.1
	skewTasks   = 500
	skewSeed    = 42
	skewCap     = 60 * time.Second
	skewDivisor = 20 // so that a run takes seconds, not minutes
	skewRatio   = 1.15
	tinyTasks   = 10_000
	tinyLine    = 104 // bytes: 10,000 of them are just under 1 MiB, which is one block
	messageMost = 4
	lineBytes   = 32
	meshNodes   = 8
)

// A stuttering node stands still for stallFor in every stallEvery.
const (
	stallFor    = time.Second
	stallEvery  = 1500 * time.Millisecond
	stallNodes  = 10
	stallShares = float64(stallEvery-stallFor) / float64(stallEvery) // of a node's time that is left
)

func experiments() []experiment {
	mesh := shape{nodes: meshNodes}
	all := []experiment{
		{"even", fmt.Sprintf("%d tasks of %s", evenTasks, evenLength), mesh,
			[]batch{{name: "even", lengths: even(evenTasks, evenLength), line: lineBytes}}, target{ratio: evenRatio}},
		{"skew", fmt.Sprintf("%d tasks, lognormal(1, 1.3) seconds, at most %s, divided by %d, seed %d", skewTasks, skewCap, skewDivisor, skewSeed), mesh,
			[]batch{{name: "skew", lengths: skewed(skewTasks), line: lineBytes}}, target{ratio: skewRatio}},
		{"tiny", fmt.Sprintf("%d tasks that do nothing, of one input of just under 1 MiB", tinyTasks), mesh,
			[]batch{{name: "tiny", lengths: even(tinyTasks, 0), line: tinyLine}}, target{messages: messageMost}},
		{"stutter", fmt.Sprintf("%d tasks of %s on %d nodes, of which one stands still for %s in every %s", evenTasks, evenLength, stallNodes, stallFor, stallEvery),
			shape{nodes: stallNodes, stutter: true}, []batch{{name: "stutter", lengths: even(evenTasks, evenLength), line: lineBytes}}, target{}},
	}
	return append(all, policies()...)
}

func even(n int, length time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{length}, n)
}

// skewed draws lengths from a lognormal distribution with a long tail.
func skewed(n int) []time.Duration {
	rng := rand.New(rand.NewPCG(skewSeed, 0))
	lengths := make([]time.Duration, n)
	for i := range lengths {
		seconds := math.Exp(1 + 1.3*rng.NormFloat64())
		lengths[i] = min(time.Duration(seconds*float64(time.Second)), skewCap) / skewDivisor
	}
	return lengths
}

// capacity is how many tasks that take so many slots the mesh runs at once, in
// the long run.
func (s shape) capacity(cores int) float64 {
	small := float64(s.nodes - s.large)
	if s.stutter {
		small += stallShares - 1
	}
	if cores > 1 {
		small = 0
	}
	return small + float64(s.large*(largeSlots/max(1, cores)))
}

// tasks is how many tasks the case has in all.
func (e experiment) tasks() int {
	n := 0
	for _, b := range e.jobs {
		n += len(b.lengths)
	}
	return n
}

// bound is the shortest makespan that there can be: all capacity in use all the
// time, or the longest task alone.
func (e experiment) bound() time.Duration {
	var longest time.Duration
	shared := 0.0
	for _, b := range e.jobs {
		var sum time.Duration
		for _, l := range b.lengths {
			sum, longest = sum+l, max(longest, l)
		}
		shared += float64(sum) / e.mesh.capacity(b.require.Cores)
	}
	return max(time.Duration(shared), longest)
}

// thin keeps every nth task, and scales lengths: the same case, smaller.
func (e experiment) thin(n int, scale float64) experiment {
	e.jobs = slices.Clone(e.jobs)
	for i, b := range e.jobs {
		var kept []time.Duration
		for k := 0; k < len(b.lengths); k += n {
			kept = append(kept, time.Duration(float64(b.lengths[k])*scale))
		}
		e.jobs[i].lengths = kept
	}
	return e
}

// choose finds experiments by name; without names, all.
func choose(names string) ([]experiment, error) {
	all := experiments()
	if names == "" {
		return all, nil
	}
	var chosen []experiment
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(e experiment) bool { return e.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q; --help lists them", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
