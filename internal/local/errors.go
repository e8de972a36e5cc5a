package local

import (
	"errors"
	"net/http"

	"github.com/meshnode/meshnode/node"
)

var (
	// ErrStopping: the node is being stopped and ended the call.
	ErrStopping = errors.New("the node is being stopped")
	// ErrGone: the node's process went away, or stopped answering, in the
	// middle of a call.
	ErrGone = errors.New("the node went away")
	// ErrForbidden: the process at the other end of the socket belongs to
	// another user.
	ErrForbidden = errors.New("the socket belongs to another user")
)

// NotRunningError is returned by Dial when no node serves the directory.
type NotRunningError struct{ Dir string }

func (e *NotRunningError) Error() string {
	return "no node is running in " + e.Dir + "; start one with: meshnode start"
}

// kind gives an error that callers tell apart its name on the wire.
type kind struct {
	code     string
	sentinel error
	status   int // of HTTP
}

// kinds lists what survives the socket. The first that matches an error names
// it, so what is more specific stands first.
func kinds() []kind {
	return []kind{
		{"unknown_job", node.ErrUnknownJob, http.StatusNotFound},
		{"unknown_task", node.ErrUnknownTask, http.StatusNotFound},
		{"not_found", node.ErrNotFound, http.StatusNotFound},
		{"not_finished", node.ErrNotFinished, http.StatusConflict},
		{"job_failed", node.ErrJobFailed, http.StatusConflict},
		{"no_capable_node", node.ErrNoCapableNode, http.StatusConflict},
		{"job_ended", node.ErrEnded, http.StatusConflict},
		{"in_use", node.ErrInUse, http.StatusConflict},
		{"bad_input", node.ErrInput, http.StatusBadRequest},
		{"stopping", ErrStopping, http.StatusServiceUnavailable},
	}
}

// codeInternal names every error that has no kind of its own.
const codeInternal = "internal"

// maxErrorText bounds the text of an error: a failed job's has up to 4 KiB of
// log, and must fit, escaped, into a trailer.
const maxErrorText = 8 << 10

// errorBody is an error on the wire.
type errorBody struct {
	Text string `json:"error"`
	Code string `json:"code"`
}

// describe returns the wire form of err and the HTTP status that goes with it.
func describe(err error) (errorBody, int) {
	text := err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText/2] + "\n...\n" + text[len(text)-maxErrorText/2:]
	}
	for _, k := range kinds() {
		if errors.Is(err, k.sentinel) {
			return errorBody{text, k.code}, k.status
		}
	}
	return errorBody{text, codeInternal}, http.StatusInternalServerError
}

// remoteError is an error that the node returned: its text, and the sentinel
// that it wrapped there.
type remoteError struct {
	text     string
	sentinel error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.sentinel }

// restore reverses describe.
func (b errorBody) restore() error {
	for _, k := range kinds() {
		if k.code == b.Code {
			return &remoteError{b.Text, k.sentinel}
		}
	}
	return &remoteError{b.Text, nil}
}
