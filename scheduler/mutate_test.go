package scheduler

import (
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// mutation breaks one rule of the protocol on all nodes of a simulation. A
// simulator that finds nothing wrong with it proves nothing.
type mutation string

const (
	countTwice    mutation = "a repeated receipt counts twice (R8)"
	arrivalOrder  mutation = "the first result to arrive counts (R8)"
	claimsAreKept mutation = "assignments enter the ledger (R6)"
	claimsForever mutation = "claims do not expire"
	finalAtOnce   mutation = "final is stated before the copies are made (R5)"
	noDigests     mutation = "digests are not sent"
	ignoreLoss    mutation = "lost results are not run again"
	neverResend   mutation = "what is not acknowledged is not sent again"
	neverWake     mutation = "the stewards of other shards are not woken"
	neverReport   mutation = "who misses a result of another shard keeps it to itself"
	bareCopies    mutation = "copies travel without their receipts (R2)"
)

var mutations = []mutation{countTwice, arrivalOrder, claimsAreKept, claimsForever, finalAtOnce, noDigests, ignoreLoss, neverResend, neverWake, neverReport}

// mutateAdd spoils the plan after a receipt was added; before is the result
// that counted until then.
func (n *simNode) mutateAdd(r *protocol.Receipt, before protocol.CID) {
	t := n.plan.at(r.Task)
	switch {
	case n.s.mutation == countTwice && before != "" && before == t.result:
		n.plan.meters[r.Task.Stage][0].done++
	case n.s.mutation == arrivalOrder && before != "":
		t.result = before
	}
}

func (n *simNode) mutateAward(a *protocol.Award) {
	if n.s.mutation != claimsAreKept || n.plan == nil {
		return
	}
	for _, t := range a.Tasks {
		r := protocol.Receipt{Job: a.Job, Task: t.Task, Worker: n.id, Result: n.s.job}
		n.add([]protocol.SignedReceipt{{Body: protocol.Encode(r)}}, nil)
	}
}

func (n *simNode) mutateTick() {
	if n.s.mutation != claimsForever {
		return
	}
	n.eachSteward(func(st *Steward) {
		for k, c := range st.claims {
			c.until = n.now().Add(time.Hour)
			st.claims[k] = c
		}
	})
}

// mutateSend reports whether a message is to be kept back.
func (n *simNode) mutateSend(m protocol.Message) bool {
	switch m := m.(type) {
	case *protocol.Announce:
		return n.s.mutation == noDigests || n.s.mutation == neverWake && m.Shard > 0 && n.steward(0).Acting()
	case *protocol.Lost:
		return n.s.mutation == neverReport
	}
	return false
}

// TestCheckersSeeMutations breaks each rule in turn: some seed must fail.
func TestCheckersSeeMutations(t *testing.T) {
	for _, m := range mutations {
		t.Run(string(m), func(t *testing.T) {
			for seed := uint64(1); seed <= 120; seed++ {
				c := newScenario(seed)
				c.mutation = m
				if err := attempt(c); err != nil {
					t.Logf("seed %d (%s): %.200s", seed, c.class, err)
					return
				}
			}
			t.Fatal("no checker objects")
		})
	}
}
