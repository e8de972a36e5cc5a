package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Explanation is what has happened to a job, or to one of its tasks, and what
// keeps it now: what its stewards remember, and what their ledgers hold.
type Explanation struct {
	Job    JobStatus    `json:"job"`
	Task   string       `json:"task,omitempty"` // STAGE/INDEX; empty for the whole job
	Stages []StageShare `json:"stages"`         // of the job; empty when its manifest cannot be had

	// Events are in the order of their times, which are those of the clocks of
	// the stewards that tell them. Stewards forget: the oldest events of a long
	// job, and all of them when they restart.
	Events  []StoryEvent `json:"events"`
	Dropped int          `json:"dropped"` // older events that are left out

	Runs    []RunShare    `json:"runs"`    // of the task, that have ended; empty for a job
	Workers []WorkerShare `json:"workers"` // of the job, most tasks first; empty for a task
	Now     NowState      `json:"now"`
	Told    []peer.ID     `json:"told"`   // stewards that answered
	Silent  []peer.ID     `json:"silent"` // stewards that did not
}

// StageShare is how far a stage is.
type StageShare struct {
	Stage  int                `json:"stage"`
	Name   string             `json:"name"`
	Kind   protocol.StageKind `json:"kind"`
	Tasks  int                `json:"tasks"`
	Done   int                `json:"done"`
	Runs   int                `json:"runs"`   // that ended, failed ones and repeats included
	Failed int                `json:"failed"` // of these runs
}

// WorkerShare is what one node did for a job.
type WorkerShare struct {
	Peer   peer.ID       `json:"peer"`
	Runs   int           `json:"runs"` // that gave a result
	Failed int           `json:"failed"`
	Took   time.Duration `json:"took_ns"` // of all of them together
}

// RunShare is one run of a task.
type RunShare struct {
	Peer   peer.ID       `json:"peer"`
	Took   time.Duration `json:"took_ns"`
	Failed string        `json:"failed"` // why, if it did
}

// StoryEvent is something that a steward remembers. Which fields say something
// depends on the kind; see protocol.EventKind.
type StoryEvent struct {
	At    time.Time          `json:"at"`
	Kind  protocol.EventKind `json:"kind"`
	Tasks []string           `json:"tasks,omitempty"` // STAGE/INDEX; none: of the job
	Peer  peer.ID            `json:"peer,omitempty"`
	Peers []peer.ID          `json:"peers,omitempty"`
	Took  time.Duration      `json:"took_ns,omitempty"`
	Room  int                `json:"room,omitempty"` // tasks that a bidder takes
	Text  string             `json:"text,omitempty"`
	Times int                `json:"times,omitempty"` // how often it happened, when more than once
	By    peer.ID            `json:"told_by,omitempty"`
}

// NowState is what keeps a task, or a job, at the moment.
type NowState struct {
	State string `json:"state"` // of a task: done, running, queued, offered, ready, waiting; else that of the job, or waiting
	Text  string `json:"text"`
}
