package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/meshnode/meshnode/protocol"
)

// fault is what happens to a victim.
type fault int

const (
	nothing fault = iota
	killed        // SIGKILL
	stopped       // SIGSTOP
	cutOff        // its link is down
	parted        // with the other victims, from all others
	muted         // it hears and is not heard
)

// free is the case without a fault.
const free = "none"

// networked reports whether the fault is one of the network, which loopback
// does not have.
func (f fault) networked() bool { return f >= cutOff }

// scenario is one case: who is hit, with what, and when.
type scenario struct {
	name, what string
	copies     int // of the job; 0 is the default
	nodes      int // that it needs at least
	fault      fault
	heals      bool // the fault ends, after as long as --away says
	restart    bool // killed nodes are started again before the next blow
	early      int  // percent of the tasks done at the first blow; 0: as --at says
	mayLose    bool // so many are hit that the job may be lost, if it says so
	target     target
	// victims picks whom to hit, one slice per blow. Blows after the first wait
	// until the job has other stewards again.
	victims func(roles) [][]int
}

// roles say which node does what in a job, by index.
type roles struct {
	nodes     int
	submitter int
	stewards  []int // in rank order
	busy      []int // all nodes, most tasks done first
}

// Parts of a mesh that are hit at once.
const (
	thirtyPercent = 30
	manyCopies    = 7  // more than 30 % of 20 nodes
	earlyAt       = 10 // percent: leaves time for two blows with recovery between
)

func scenarios() []scenario {
	all := []scenario{
		{name: free, what: "no fault", victims: func(roles) [][]int { return nil }},
		{name: "worker", what: "SIGKILL of a node that only works", fault: killed, victims: oneWorker, target: target{capacity: workerKill, noticed: killNoticed}},
		{name: "stop-worker", what: "SIGSTOP of it", fault: stopped, victims: oneWorker, target: target{noticed: hangNoticed}},
		{name: "submitter", what: "SIGKILL of the node that the job was submitted at", fault: killed, victims: theSubmitter, target: target{over: killCost, noticed: killNoticed}},
		{name: "stop-submitter", what: "SIGSTOP of it", fault: stopped, victims: theSubmitter, target: target{over: hangCost, noticed: hangNoticed}},
	}
	for rank := range protocol.DefaultCopies {
		all = append(all,
			scenario{name: fmt.Sprintf("steward%d", rank), what: fmt.Sprintf("SIGKILL of the steward of rank %d", rank), fault: killed, victims: steward(rank), target: target{over: killCost, noticed: killNoticed}},
			scenario{name: fmt.Sprintf("stop-steward%d", rank), what: "SIGSTOP of it", fault: stopped, victims: steward(rank), target: target{over: hangCost, noticed: hangNoticed}})
	}
	all = append(all,
		scenario{name: "stewards", what: "SIGKILL of all first stewards but the last, each once the one before is replaced",
			fault: killed, victims: inTurn, target: target{over: 2 * killCost, noticed: killNoticed}},
		scenario{name: "stewards-back", what: fmt.Sprintf("SIGKILL of all first stewards but the last, from %d %% done; each once the job has as many as before and the one before is back, with its folder", earlyAt),
			fault: killed, restart: true, early: earlyAt, victims: inTurn, target: target{over: 2 * killCost, noticed: killNoticed}},
		scenario{name: "all-stewards", what: "SIGKILL of all stewards at once: as many nodes as there are copies, so the job may be lost, but must say so",
			fault: killed, mayLose: true, victims: everySteward},
		scenario{name: "third", what: fmt.Sprintf("SIGKILL of %d %% of the nodes at once, submitter and stewards among them; %d copies", thirtyPercent, manyCopies),
			fault: killed, victims: thirtyAtOnce, copies: manyCopies, nodes: 10, target: target{overCapacity: killCost, noticed: killNoticed}},
		scenario{name: "pause", what: fmt.Sprintf("SIGSTOP of a third of the nodes, and SIGCONT after --away; %d copies", manyCopies),
			fault: stopped, victims: aThird, copies: manyCopies, nodes: 8, heals: true, target: target{overCapacity: hangCost, noticed: hangNoticed}})
	return append(all, cuts()...)
}

// cuts are the cases of a network that fails.
func cuts() []scenario {
	hang := target{over: hangCost, noticed: hangNoticed}
	return []scenario{
		{name: "cut-submitter", what: "the submitter's link is down for --away", fault: cutOff, heals: true, victims: theSubmitter, target: hang},
		{name: "cut-steward0", what: "the same of the steward of rank 0", fault: cutOff, heals: true, victims: steward(0), target: hang},
		{name: "one-way", what: "the steward of rank 0 hears, but is not heard, for --away", fault: muted, heals: true, victims: steward(0), target: hang},
		{name: "partition", what: fmt.Sprintf("a third of the nodes is apart from the others for --away; both sides go on; %d copies", manyCopies),
			fault: parted, victims: aThird, copies: manyCopies, nodes: 8, heals: true, target: target{overCapacity: hangCost, noticed: hangNoticed}},
	}
}

// choose finds the cases by name; none is always the first. Those that the
// network or the number of nodes rules out are left out, unless they are named.
func choose(names string, nodes int, net string) ([]scenario, error) {
	all := scenarios()
	unfit := func(s scenario) error {
		switch {
		case s.nodes > nodes:
			return fmt.Errorf("the case %s needs --nodes %d or more", s.name, s.nodes)
		case s.fault.networked() && net != inNamespaces:
			return fmt.Errorf("the case %s needs --net %s: connections on loopback cannot be cut", s.name, inNamespaces)
		}
		return nil
	}
	if names == "" {
		return slices.DeleteFunc(all, func(s scenario) bool { return unfit(s) != nil }), nil
	}
	chosen := all[:1:1]
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q; --help lists them", name)
		}
		if err := unfit(all[i]); err != nil {
			return nil, err
		}
		if i > 0 {
			chosen = append(chosen, all[i])
		}
	}
	return chosen, nil
}

// oneWorker picks, of the nodes with no other role, the one that did most.
func oneWorker(r roles) [][]int {
	for _, i := range r.busy {
		if i != r.submitter && !slices.Contains(r.stewards, i) {
			return [][]int{{i}}
		}
	}
	return nil
}

func theSubmitter(r roles) [][]int { return [][]int{{r.submitter}} }

func steward(rank int) func(roles) [][]int {
	return func(r roles) [][]int { return [][]int{{r.stewards[rank]}} }
}

func everySteward(r roles) [][]int { return [][]int{slices.Clone(r.stewards)} }

func inTurn(r roles) [][]int {
	var blows [][]int
	for _, i := range r.stewards[:len(r.stewards)-1] {
		blows = append(blows, []int{i})
	}
	return blows
}

func thirtyAtOnce(r roles) [][]int { return atOnce(r, r.nodes*thirtyPercent/100) }

func aThird(r roles) [][]int { return atOnce(r, r.nodes/3) }

// atOnce picks the submitter, the first two stewards and then the busiest
// others, fewer than there are copies.
func atOnce(r roles, n int) [][]int {
	n = min(max(1, n), manyCopies-1)
	var victims []int
	for _, i := range slices.Concat([]int{r.submitter}, r.stewards[:2], r.busy) {
		if len(victims) < n && !slices.Contains(victims, i) {
			victims = append(victims, i)
		}
	}
	return [][]int{victims}
}
