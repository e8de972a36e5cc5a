package local

import (
	"encoding/json"
	"time"

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
