package local

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Bounds of what crosses the socket.
const (
	// maxRequest bounds the body of a request: a job names at most 4,096
	// inputs and 256 files, and a path has at most 4 KiB; few come near.
	maxRequest = 8 << 20
	// maxReply bounds a reply that is one JSON value; the list of all jobs is
	// the longest.
	maxReply = 64 << 20
	// maxLine bounds one line of a stream: the log of one task is kept to
	// 1 MiB unless its job asks for more, and escaping may lengthen it.
	maxLine = 64 << 20
	// maxConns bounds the connections that are served at once.
	maxConns = 256
	// reportEvery is how often a long call reports at most: people read it.
	reportEvery = 50 * time.Millisecond
	// quickTimeout ends calls that the node answers from its own memory.
	quickTimeout = 15 * time.Second
)

// Trailers of raw replies.
const (
	trailerError       = "X-Meshnode-Error"       // an errorBody in base64
	trailerProvisional = "X-Meshnode-Provisional" // "true" when the copies are not yet enough
)

// event is one line of a stream. Reports come first; the last line has a
// result, an error, or both, and Done set, so that a stream that broke off is
// told from one that ended.
type event struct {
	Report json.RawMessage `json:"report,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
	Error  *errorBody      `json:"error,omitempty"`
	Done   bool            `json:"done,omitempty"`
}

type (
	pathRequest struct {
		Path string `json:"path"`
	}
	inviteReply struct {
		Token string `json:"token"`
	}
	submitReply struct {
		Job protocol.CID `json:"job"`
	}
	partsReply struct {
		Provisional bool `json:"provisional"`
	}
	progress struct {
		Done  int64 `json:"done"`
		Total int64 `json:"total"`
	}
)

// plainStatus is a JobStatus without its methods, so that an encoding of its
// own, if it has one, cannot replace wireStatus's.
type plainStatus node.JobStatus

// wireStatus is a JobStatus in JSON. Two fields need help: an empty peer ID can
// be encoded but not decoded, and encoding/json writes map keys that are
// strings as they are, in the case of peer IDs in binary.
type wireStatus struct {
	plainStatus
	Stewards  []peer.ID      `json:"stewards"`
	Workers   map[string]int `json:"workers"`
	Submitter *peer.ID       `json:"submitter,omitempty"`
}

func toWireStatus(st node.JobStatus) wireStatus {
	w := wireStatus{plainStatus(st), st.Stewards, make(map[string]int, len(st.Workers)), known(st.Submitter)}
	if w.Stewards == nil {
		w.Stewards = []peer.ID{}
	}
	for id, tasks := range st.Workers {
		w.Workers[id.String()] = tasks
	}
	return w
}

// Document returns what the documented JSON form of st is made of: give it to
// encoding/json.
func Document(st node.JobStatus) any { return toWireStatus(st) }

func (w wireStatus) status() (node.JobStatus, error) {
	st := node.JobStatus(w.plainStatus)
	if len(w.Stewards) > 0 {
		st.Stewards = w.Stewards
	}
	if w.Submitter != nil {
		st.Submitter = *w.Submitter
	}
	for text, tasks := range w.Workers {
		id, err := peer.Decode(text)
		if err != nil {
			return st, fmt.Errorf("decoding a job's workers: %w", err)
		}
		if st.Workers == nil {
			st.Workers = make(map[peer.ID]int, len(w.Workers))
		}
		st.Workers[id] = tasks
	}
	return st, nil
}

type plainEntry node.LogEntry

// wireEntry is a LogEntry whose worker may be unknown.
type wireEntry struct {
	plainEntry
	Worker *peer.ID `json:"worker,omitempty"`
}

func toWireEntry(e node.LogEntry) wireEntry { return wireEntry{plainEntry(e), known(e.Worker)} }

func (w wireEntry) entry() node.LogEntry {
	e := node.LogEntry(w.plainEntry)
	if w.Worker != nil {
		e.Worker = *w.Worker
	}
	return e
}

func known(id peer.ID) *peer.ID {
	if id == "" {
		return nil
	}
	return &id
}
