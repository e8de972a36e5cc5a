package main

import (
	"fmt"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// The workload by which assignment strategies are compared: skewed, of inputs
// large enough that it matters who holds them, on nodes that are not equal.
const (
	mixedTasks  = 200
	mixedScale  = 0.25
	mixedLine   = 32 << 10 // bytes of input a task
	largeNodes  = 2
	largeSlots  = 3
	wideTasks   = 40
	queueLong   = 200
	queueShort  = 50
	shortLength = 10 * time.Millisecond
	shortAhead  = 10 // priority of the short job
)

// policies are the cases that differ in nothing but how a job asks to be
// treated.
func policies() []experiment {
	var all []experiment
	mesh := shape{nodes: meshNodes, large: largeNodes}
	for _, s := range protocol.Strategies() {
		e := experiment{"strategy-" + string(s), fmt.Sprintf("%d skewed tasks that read %d KiB each, on %d nodes of which %d have %d slots", mixedTasks, mixedLine>>10, meshNodes, largeNodes, largeSlots), mesh,
			[]batch{{name: "mixed", lengths: skewed(mixedTasks), line: mixedLine, policy: protocol.Policy{Strategy: s}}}, target{}}
		all = append(all, e.thin(1, mixedScale))
	}
	all = append(all, experiment{"require", fmt.Sprintf("%d tasks of %s that take %d slots each, which only %d nodes have", wideTasks, evenLength, largeSlots, largeNodes), mesh,
		[]batch{{name: "wide", lengths: even(wideTasks, evenLength), line: lineBytes, require: protocol.Require{Cores: largeSlots}}}, target{}})
	for _, q := range protocol.Queues() {
		all = append(all, experiment{"queue-" + string(q), fmt.Sprintf("%d tasks of %s, then a job of %d of %s with priority %d", queueLong, evenLength, queueShort, shortLength, shortAhead), shape{nodes: meshNodes},
			[]batch{
				{name: "long", lengths: even(queueLong, evenLength), line: lineBytes, policy: protocol.Policy{Queue: q}},
				{name: "short", lengths: even(queueShort, shortLength), line: lineBytes, policy: protocol.Policy{Queue: q, Priority: shortAhead}},
			}, target{}})
	}
	return all
}
