package protocol

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The requests and answers of CallProtocol: one request, one answer, on a
// stream that may serve further ones.

// Request holds exactly one of its fields.
type Request struct {
	Hold    *Hold    `cbor:"1,keyasint,omitempty"`
	Held    *Held    `cbor:"2,keyasint,omitempty"`
	Submit  *Submit  `cbor:"3,keyasint,omitempty"`
	Commit  *Commit  `cbor:"4,keyasint,omitempty"`
	Status  *JobRef  `cbor:"5,keyasint,omitempty"`
	Jobs    *JobList `cbor:"6,keyasint,omitempty"`
	Runs    *JobRef  `cbor:"7,keyasint,omitempty"`
	Cancel  *Cancel  `cbor:"8,keyasint,omitempty"`
	Explain *Explain `cbor:"9,keyasint,omitempty"`
}

// Name is the name of what is asked for; "" of an empty request.
func (r *Request) Name() string {
	switch {
	case r.Hold != nil:
		return "hold"
	case r.Held != nil:
		return "held"
	case r.Submit != nil:
		return "submit"
	case r.Commit != nil:
		return "commit"
	case r.Status != nil:
		return "status"
	case r.Jobs != nil:
		return "jobs"
	case r.Runs != nil:
		return "runs"
	case r.Cancel != nil:
		return "cancel"
	case r.Explain != nil:
		return "explain"
	}
	return ""
}

// DecodeRequest decodes a request and checks that it is exactly one, within its
// bounds; what is signed in it has still to be opened.
func DecodeRequest(b []byte) (*Request, error) {
	var r Request
	if err := decodeMessage(b, &r); err != nil {
		return nil, err
	}
	if !r.bounded() {
		return nil, fmt.Errorf("decoding a request: %w", ErrBounds)
	}
	return &r, nil
}

// Answer holds the field that belongs to the request, or Error.
type Answer struct {
	Error  string     `cbor:"1,keyasint,omitempty"`
	Held   []bool     `cbor:"2,keyasint,omitempty"`  // Hold, Held: one for each root
	Boot   uint64     `cbor:"3,keyasint,omitempty"`  // Held, Commit
	Copies int        `cbor:"4,keyasint,omitempty"`  // Submit
	Status *JobState  `cbor:"5,keyasint,omitempty"`  // Status; none when the job is unknown
	Jobs   []JobState `cbor:"6,keyasint,omitempty"`  // Jobs
	Runs   []TaskRun  `cbor:"7,keyasint,omitempty"`  // Runs
	Known  bool       `cbor:"8,keyasint,omitempty"`  // Cancel
	Can    *Needs     `cbor:"9,keyasint,omitempty"`  // Held: what the answerer has
	Story  []Event    `cbor:"10,keyasint,omitempty"` // Explain
	Now    *Now       `cbor:"11,keyasint,omitempty"` // Explain: of the named task, or of the job
	Clock  time.Time  `cbor:"12,keyasint"`           // the answerer's time
}

// DecodeAnswer decodes an answer and checks its bounds: who is asked may say
// anything. Which of its fields belong to the request is for the asker to see.
func DecodeAnswer(b []byte) (*Answer, error) {
	var a Answer
	if err := decodeMessage(b, &a); err != nil {
		return nil, err
	}
	if !a.bounded() {
		return nil, fmt.Errorf("decoding an answer: %w", ErrBounds)
	}
	return &a, nil
}

// Hold asks the receiver to fetch whole DAGs from any of the sources and keep
// them. It answers when it has them all, or with which it has.
type Hold struct {
	Roots   []CID     `cbor:"1,keyasint"`
	Sources []peer.ID `cbor:"2,keyasint"`
	// Receipts, of one Job, travel with the replicas of their results, so that
	// whoever is left with a block knows what it is.
	Job      CID             `cbor:"3,keyasint,omitempty"`
	Receipts []SignedReceipt `cbor:"4,keyasint,omitempty"`
}

// Held asks which whole DAGs the receiver has. Those that are results of Job,
// if it is named, count only together with a receipt that says so.
type Held struct {
	Roots []CID `cbor:"1,keyasint"`
	Job   CID   `cbor:"2,keyasint,omitempty"`
}

// Submit hands a job to one of its stewards, which commits it or says why not.
type Submit struct {
	Manifest []byte `cbor:"1,keyasint"`
}

// Commit tells a steward that the job is about to run; it keeps the manifest
// and the fact, and answers with its boot ID.
type Commit struct {
	Manifest []byte   `cbor:"1,keyasint"`
	Facts    []Signed `cbor:"2,keyasint"`
}

// JobRef names a job, and for a list of runs of which shard and from where on.
type JobRef struct {
	Job   CID `cbor:"1,keyasint"`
	From  int `cbor:"2,keyasint"`
	Shard int `cbor:"3,keyasint,omitempty"`
}

// Explain asks what has happened to a job, or to one of its tasks, as the
// receiver has seen it, and what keeps it now. From says from which event on.
type Explain struct {
	Job   CID  `cbor:"1,keyasint"`
	Shard int  `cbor:"2,keyasint"`
	Task  *Key `cbor:"3,keyasint,omitempty"`
	From  int  `cbor:"4,keyasint"`
}

// EventKind says what an Event tells.
type EventKind string

const (
	EventOffered   EventKind = "offered"     // to Peers
	EventBid       EventKind = "bid"         // Peer would begin after Took, for up to Tasks
	EventRefused   EventKind = "refused"     // Peer, for the reason Text
	EventFull      EventKind = "full"        // Peer has no room now
	EventSilent    EventKind = "silent"      // Peer did not answer
	EventAwarded   EventKind = "awarded"     // to Peer
	EventStarted   EventKind = "started"     // on Peer
	EventStolen    EventKind = "stolen"      // by Peer, from the first of Peers
	EventLost      EventKind = "lost"        // Peer no longer holds it: Text
	EventSpeculate EventKind = "speculated"  // offered again beside Peer, since Text
	EventReleased  EventKind = "released"    // Peer was told that it is done elsewhere
	EventDone      EventKind = "done"        // by Peer, in Took
	EventFailed    EventKind = "failed"      // on Peer: Text
	EventResult    EventKind = "result lost" // nobody holds it: it runs again
	EventSteward   EventKind = "steward"     // Peer began or ceased to act: Text
)

// Event is something that happened to a task, or with the zero Tasks to the
// job.
type Event struct {
	At    time.Time     `cbor:"1,keyasint"`
	Kind  EventKind     `cbor:"2,keyasint"`
	Tasks []Key         `cbor:"3,keyasint,omitempty"`
	Peer  peer.ID       `cbor:"4,keyasint,omitempty"`
	Peers []peer.ID     `cbor:"5,keyasint,omitempty"`
	Took  time.Duration `cbor:"6,keyasint,omitempty"`
	Room  int           `cbor:"7,keyasint,omitempty"`
	Text  string        `cbor:"8,keyasint,omitempty"`
	Times int           `cbor:"9,keyasint,omitempty"` // how often in a row, when more than once
}

// Now is what keeps a task, or a job, at the moment.
type Now struct {
	State string `cbor:"1,keyasint"` // done, running, queued, offered, ready, waiting, failed
	Text  string `cbor:"2,keyasint"`
}

// JobList asks for the jobs that the receiver knows, newest first.
type JobList struct {
	Limit int `cbor:"1,keyasint"`
}

// Cancel asks the receiver to keep and spread a signed cancellation.
type Cancel struct {
	Job  CID    `cbor:"1,keyasint"`
	Fact Signed `cbor:"2,keyasint"`
}

// State is how far a job is.
type State string

const (
	StatePending     State = "pending"     // accepted, nothing has run yet
	StateRunning     State = "running"     //
	StateProvisional State = "provisional" // the root is known, its copies are not yet enough
	StateFinal       State = "final"       //
	StateFailed      State = "failed"      //
	StateCancelled   State = "cancelled"   //
)

// Ended reports whether nothing more will happen.
func (s State) Ended() bool {
	return s == StateFinal || s == StateFailed || s == StateCancelled
}

// JobState is one node's view of a job.
type JobState struct {
	Job        CID             `cbor:"1,keyasint"`
	Name       string          `cbor:"2,keyasint"`
	State      State           `cbor:"3,keyasint"`
	Total      int             `cbor:"4,keyasint"`
	Done       int             `cbor:"5,keyasint"`
	Running    int             `cbor:"6,keyasint"`
	Queued     int             `cbor:"7,keyasint"`
	Executions int             `cbor:"8,keyasint"` // runs of tasks that ended, repeats included
	Root       CID             `cbor:"9,keyasint"`
	Stewards   []peer.ID       `cbor:"10,keyasint"` // in rank order
	Workers    map[peer.ID]int `cbor:"11,keyasint"` // tasks done
	Started    time.Time       `cbor:"12,keyasint"`
	Finished   time.Time       `cbor:"13,keyasint"` // zero until the job has ended
	Error      string          `cbor:"14,keyasint"`
	Submitter  peer.ID         `cbor:"15,keyasint,omitempty"`
	Bytes      int64           `cbor:"16,keyasint"` // of all inputs
	BytesDone  int64           `cbor:"17,keyasint"` // of the inputs of the first stage that are done, estimated
	Parts      int             `cbor:"18,keyasint"` // files that the root joins
	Waiting    string          `cbor:"19,keyasint"` // why nothing runs, if that is so
	Copies     int             `cbor:"20,keyasint"` // with which the job runs
	Policy     Policy          `cbor:"21,keyasint"`
	Shards     int             `cbor:"22,keyasint"`
	Ambiguous  bool            `cbor:"23,keyasint"`           // a task gave different results; the lowest root counts
	Distrusted []peer.ID       `cbor:"24,keyasint,omitempty"` // outvoted: their results of this job do not count
	RunUntil   time.Time       `cbor:"25,keyasint"`
	Wanted     int             `cbor:"26,keyasint"` // copies that the manifest asks for
	Mode       Mode            `cbor:"27,keyasint"`
	Require    Require         `cbor:"28,keyasint"` // left out of lists of jobs
}

// TaskRun is one run of a task, for its log.
type TaskRun struct {
	Task   Key           `cbor:"1,keyasint"`
	Stage  string        `cbor:"2,keyasint"`
	Worker peer.ID       `cbor:"3,keyasint"`
	Took   time.Duration `cbor:"4,keyasint"`
	Failed string        `cbor:"5,keyasint"` // why, if it did
	Log    CID           `cbor:"6,keyasint"`
	Tail   []byte        `cbor:"7,keyasint"`
}
