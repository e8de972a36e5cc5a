package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// scenario is one case: who is hit, with what, and when.
type scenario struct {
	name, what string
	copies     int // of the job; 0 is the default
	nodes      int // that it needs at least
	signal     syscall.Signal
	resume     time.Duration // after which stopped nodes go on; 0: never
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
	manyCopies    = 7 // more than 30 % of 20 nodes
	cutFor        = 15 * time.Second
)

func scenarios() []scenario {
	all := []scenario{
		{name: "none", what: "no fault", victims: func(roles) [][]int { return nil }},
		{name: "worker", what: "SIGKILL of a node that only works", signal: syscall.SIGKILL, victims: oneWorker},
		{name: "stop-worker", what: "SIGSTOP of it", signal: syscall.SIGSTOP, victims: oneWorker},
		{name: "submitter", what: "SIGKILL of the node that the job was submitted at", signal: syscall.SIGKILL, victims: theSubmitter},
		{name: "stop-submitter", what: "SIGSTOP of it", signal: syscall.SIGSTOP, victims: theSubmitter},
	}
	for rank := range protocol.DefaultCopies {
		pick := func(r roles) [][]int { return [][]int{{r.stewards[rank]}} }
		all = append(all,
			scenario{name: fmt.Sprintf("steward%d", rank), what: fmt.Sprintf("SIGKILL of the steward of rank %d", rank), signal: syscall.SIGKILL, victims: pick},
			scenario{name: fmt.Sprintf("stop-steward%d", rank), what: "SIGSTOP of it", signal: syscall.SIGSTOP, victims: pick})
	}
	return append(all,
		scenario{name: "stewards", what: "SIGKILL of all first stewards but the last, each once the one before is replaced",
			signal: syscall.SIGKILL, victims: inTurn},
		scenario{name: "third", what: fmt.Sprintf("SIGKILL of %d %% of the nodes at once, submitter and stewards among them; %d copies", thirtyPercent, manyCopies),
			signal: syscall.SIGKILL, victims: thirdAtOnce, copies: manyCopies, nodes: 10},
		scenario{name: "partition", what: fmt.Sprintf("SIGSTOP of a third of the nodes, SIGCONT after %s", cutFor),
			signal: syscall.SIGSTOP, victims: thirdAtOnce, copies: manyCopies, nodes: 8, resume: cutFor})
}

// choose finds the cases by name; none is always the first.
func choose(names string, nodes int) ([]scenario, error) {
	all := scenarios()
	if names == "" {
		return slices.DeleteFunc(all, func(s scenario) bool { return s.nodes > nodes }), nil
	}
	chosen := all[:1:1]
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(all, func(s scenario) bool { return s.name == strings.TrimSpace(name) })
		switch {
		case i < 0:
			return nil, fmt.Errorf("there is no case %q; --help lists them", name)
		case all[i].nodes > nodes:
			return nil, fmt.Errorf("the case %s needs --nodes %d or more", all[i].name, all[i].nodes)
		case i > 0:
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

func inTurn(r roles) [][]int {
	var blows [][]int
	for _, i := range r.stewards[:len(r.stewards)-1] {
		blows = append(blows, []int{i})
	}
	return blows
}

// thirdAtOnce picks the submitter, the first two stewards and then the busiest
// others, fewer than there are copies.
func thirdAtOnce(r roles) [][]int {
	n := min(max(1, r.nodes*thirtyPercent/100), manyCopies-1)
	var victims []int
	for _, i := range slices.Concat([]int{r.submitter}, r.stewards[:2], r.busy) {
		if len(victims) < n && !slices.Contains(victims, i) {
			victims = append(victims, i)
		}
	}
	return [][]int{victims}
}
