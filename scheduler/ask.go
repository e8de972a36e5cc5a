package scheduler

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// What every machine that asks other nodes goes by.
const (
	// hedgeAfter is how long a node may be silent before another one is asked
	// as well. A call within a region takes milliseconds and a busy machine
	// answers in tens of them; a node that hangs is noticed by the failure
	// detector only after a second and more.
	hedgeAfter = 300 * time.Millisecond
	// signEvery is the same for a node that is known to be at work on a long
	// answer, such as copying a large file: it gives a sign of life meanwhile.
	signEvery = 2 * time.Second
	// deafAfter is when a node that has not answered is no longer taken for
	// live, whatever the view says: the failure detector, which a busy node
	// still answers, would have spoken by then.
	deafAfter = 2 * time.Second
)

// Question is what a node is asked.
type Question string

const (
	AskHeld   Question = "held"   // which of the roots does it hold?
	AskHold   Question = "hold"   // fetch and hold the roots
	AskKeep   Question = "keep"   // hold the job's manifest
	AskCommit Question = "commit" // keep the fact that the job is committed
)

// Ask asks for a question to be put to a node. The answer, or that there is
// none, is reported to the machine that asked; signs that a node which has not
// answered yet lives, to its Alive. To may be this node.
type Ask struct {
	To       peer.ID
	Question Question
	Roots    []protocol.CID
	Sources  []peer.ID // AskHold: who holds the roots
	Round    int
	Last     bool // of a settlement: about what joins the parts
	Copies   int  // AskCommit: with how many the job runs
}

// Reply is what came of an Ask.
type Reply struct {
	Ask  Ask
	Boot uint64 // of the node, when it has answered
	Held []bool // AskHeld: one for each root
	// Refused says why the node did not do what it was asked, Gone why it
	// could not be asked at all. Both empty, it has done it.
	Refused, Gone string
}

func (r *Reply) ok() bool { return r.Refused == "" && r.Gone == "" }

func (r *Reply) why() string {
	if r.Gone != "" {
		return r.Gone
	}
	return r.Refused
}

func (Ask) effect() {}
