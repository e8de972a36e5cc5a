package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Status is a node's account of itself.
type Status struct {
	ID       peer.ID  `json:"id"`
	Name     string   `json:"name"`
	Dir      string   `json:"dir"`
	Addrs    []string `json:"addrs"` // each ends in /p2p/ID
	Mesh     string   `json:"mesh"`  // the mesh's ID
	Peers    int      `json:"peers"` // live members other than this node
	Slots    int      `json:"slots"` // tasks it runs at once
	Running  int      `json:"running"`
	Queued   int      `json:"queued"`
	Blocks   int64    `json:"blocks"`
	Bytes    int64    `json:"bytes"`     // of blocks
	RSSBytes int64    `json:"rss_bytes"` // resident memory of the process
	Version  string   `json:"version"`
	// ClockOffset is how many seconds the time that this node goes by for what
	// is absolute is ahead of its own clock: 0 unless most of its peers disagree
	// with that.
	ClockOffset float64 `json:"clock_offset"`

	Refused  map[string]int64 `json:"refused"`  // what peers sent and was not taken, by Refusal
	Sent     map[string]int64 `json:"sent"`     // messages and calls to others, by kind
	Received map[string]int64 `json:"received"` // messages and calls of others, by kind
}

// PeerState is what a node believes of a member.
type PeerState string

const (
	Alive   PeerState = "alive"
	Suspect PeerState = "suspect" // missed probes; may refute
	Dead    PeerState = "dead"
	Left    PeerState = "left" // said so
)

// Peer is a member of the mesh as this node sees it.
type Peer struct {
	ID      peer.ID   `json:"id"`
	Name    string    `json:"name"`
	State   PeerState `json:"state"`
	Self    bool      `json:"self"`
	Addrs   []string  `json:"addrs"` // each ends in /p2p/ID
	Slots   int       `json:"slots"`
	Load    float64   `json:"load"` // running plus queued tasks over slots
	Version string    `json:"version"`
	Labels  []string  `json:"labels"` // that jobs may demand, as far as this node knows
}

// Added is what came of adding a file or folder.
type Added struct {
	CID    protocol.CID `json:"cid"`
	Bytes  int64        `json:"bytes"`
	Files  int          `json:"files"`
	Copies int          `json:"copies"` // nodes that hold every block
}

// ProgramSpec is a program as its user names it. The text form (see
// ParseProgram) is x.wasm, x.go, exec:COMMAND or func:NAME.
type ProgramSpec struct {
	Kind    protocol.ProgramKind `json:"kind"`
	Path    string               `json:"path,omitempty"`    // of a .wasm or .go file
	Command string               `json:"command,omitempty"` // exec
	Func    string               `json:"func,omitempty"`    // func
}

// JobSpec describes a job to submit. The zero value of an optional field means
// its default.
type JobSpec struct {
	Name    string       `json:"name,omitempty"`
	Map     ProgramSpec  `json:"map"`
	Reduce  *ProgramSpec `json:"reduce,omitempty"`
	Combine *ProgramSpec `json:"combine,omitempty"`
	// Inputs are paths on this node or CIDs; a folder means every file under
	// it, in byte order of their paths.
	Inputs     []string      `json:"inputs"`
	Files      []string      `json:"files,omitempty"`      // paths on this node, laid in each task's folder
	Partitions int           `json:"partitions,omitempty"` // of the reduce; 1
	Split      int64         `json:"split,omitempty"`      // bytes; 16 MiB
	Timeout    time.Duration `json:"timeout,omitempty"`    // of one task; 1 h
	Memory     int64         `json:"memory,omitempty"`     // bytes of one task; 1 GiB, or what Require asks for if that is more
	LogLimit   int64         `json:"log_limit,omitempty"`  // bytes of one task's log kept; 1 MiB
	Output     int64         `json:"output,omitempty"`     // bytes one task may print; 4 GiB
	Copies     int           `json:"copies,omitempty"`     // replication factor; 3
	// Mode says what two different results of one task mean. By default wasm
	// programs are strict, since they are deterministic; of the others only the
	// submitter knows.
	Mode    protocol.Mode    `json:"mode,omitempty"`
	Policy  protocol.Policy  `json:"policy,omitzero"`
	Require protocol.Require `json:"require,omitzero"` // of the nodes that run its programs
	// Env are environment variables of its programs, NAME=VALUE. Names that
	// begin with MESHNODE_ are kept for what the mesh tells a task.
	Env    []string      `json:"env,omitempty"`
	Expire time.Duration `json:"expire,omitempty"` // how long it may run; 24 h
	Keep   time.Duration `json:"keep,omitempty"`   // how long the result is kept after that; 7 days
}

// JobStatus is how far a job is.
type JobStatus struct {
	Job        protocol.CID    `json:"job"`
	Name       string          `json:"name"`
	State      protocol.State  `json:"state"`
	Total      int             `json:"total"` // tasks of all stages
	Done       int             `json:"done"`
	Running    int             `json:"running"`
	Queued     int             `json:"queued"`
	Executions int             `json:"executions"` // runs of tasks, repeats included
	Root       protocol.CID    `json:"root"`
	Stewards   []peer.ID       `json:"stewards"` // in rank order
	Workers    map[peer.ID]int `json:"workers"`  // tasks done
	Started    *time.Time      `json:"started"`  // null until it is known
	Finished   *time.Time      `json:"finished"`
	Error      string          `json:"error"`

	Submitter  peer.ID `json:"submitter"`
	Copies     int     `json:"copies"` // with which it runs
	InputBytes int64   `json:"input_bytes"`
	BytesDone  int64   `json:"bytes_done"` // of the input, estimated
	Parts      int     `json:"parts"`      // files that the root joins
	Waiting    string  `json:"waiting"`    // why nothing runs, if that is so

	Policy     protocol.Policy `json:"policy"`     // with its defaults spelt out
	RunUntil   *time.Time      `json:"run_until"`  // when it is given up; null until it is known
	Shards     int             `json:"shards"`     // groups of tasks that are looked after together
	Ambiguous  bool            `json:"ambiguous"`  // a task gave different results; the lowest root counts
	Distrusted []peer.ID       `json:"distrusted"` // outvoted: their results of this job do not count

	CopiesWanted int              `json:"copies_wanted"` // that its submitter asked for; 0 until it is known
	Mode         protocol.Mode    `json:"mode"`
	Require      protocol.Require `json:"require"` // of the nodes that run its programs; empty in lists of jobs
}

// LogEntry is the log of one run of a task.
type LogEntry struct {
	Task   string        `json:"task"` // stage/index
	Stage  string        `json:"stage"`
	Worker peer.ID       `json:"worker"`
	Took   time.Duration `json:"took_ns"`
	Failed string        `json:"failed"` // why, if it did
	Log    string        `json:"log"`    // standard error, or its end for a failed run
}

// Progress reports bytes done of total while files are added or fetched; total
// is 0 while it is unknown.
type Progress func(done, total int64)

// InviteOptions narrow an invitation. The zero value means the defaults.
type InviteOptions struct {
	// Roles of the joiner: submit, work, store, admin. All of them.
	Roles []string `json:"roles,omitempty"`
	// For is how long the token may be used. 24 h.
	For time.Duration `json:"for,omitempty"`
}
