package scheduler

import (
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Effect is something that a machine wants done. It is one of the types below.
type Effect interface{ effect() }

// Send asks for a message to be sent; it may be lost. To may be this node.
type Send struct {
	To      peer.ID
	Message protocol.Message
}

// Start asks for a task to be run; its end is reported to Worker.Ended.
type Start struct {
	Job    protocol.CID
	Task   protocol.Key
	Inputs []protocol.Input
}

// Fetch asks for what a task that waits here reads to be brought here, while
// others run.
type Fetch struct {
	Job    protocol.CID
	Task   protocol.Key
	Inputs []protocol.Input
}

// Stop asks for a task to be ended at once; its end is reported all the same.
type Stop struct {
	Job  protocol.CID
	Task protocol.Key
}

// Stole asks for the stewards of these tasks to be told that this node now
// holds them, which From did.
type Stole struct {
	Job   protocol.CID
	From  peer.ID
	Tasks []protocol.Key
}

// Check asks whether any node still holds the results of these tasks, since a
// worker could not read what Task needs. Those lost are reported to
// Plan.Lose, the others to Plan.Find, and the stewards of other shards than
// the one that asks are told what is lost of theirs.
type Check struct {
	Job   protocol.CID
	Shard int
	Task  protocol.Key
	Deps  []protocol.Key
}

// Conclude asks for the job to be stated failed.
type Conclude struct {
	Job  protocol.CID
	Text string
}

// Settle asks for what the root joins to be held by enough nodes: the results of
// Parts, and then those of Last, which join them. Of the job shard Last is the
// root, and the job is stated final after it; of another, Steward.Settled is
// called.
type Settle struct {
	Job   protocol.CID
	Shard int
	Root  protocol.CID // of the job shard
	Parts []protocol.Key
	Last  []protocol.Key
}

// Noted is something worth a line in the log.
type Noted struct {
	Job  protocol.CID
	What string
	Task protocol.Key
	Peer peer.ID
	Why  string
}

func (Send) effect()     {}
func (Start) effect()    {}
func (Fetch) effect()    {}
func (Stop) effect()     {}
func (Stole) effect()    {}
func (Check) effect()    {}
func (Conclude) effect() {}
func (Settle) effect()   {}
func (Noted) effect()    {}
