package task

import (
	"errors"
	"fmt"
	"strings"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/internal/shuffle"
	"github.com/meshnode/meshnode/protocol"
)

// Failed says why a task failed. Kind.Deterministic tells whether it would fail
// the same way elsewhere.
type Failed struct {
	Kind protocol.FailKind
	Code int          // exit status, where Kind is FailExit
	Text string       // one line for people, which names the task
	Log  []byte       // of the task's programs until then
	Lost protocol.CID // the input that could not be read, where Kind is FailInput

	cause error
}

func (f *Failed) Error() string { return f.Text }

// Unwrap is the cause, if another error is one.
func (f *Failed) Unwrap() error { return f.cause }

// lost is the failure to read an input.
func lost(c protocol.CID, cause error) error {
	return &Failed{
		Kind: protocol.FailInput, Lost: c, cause: cause,
		Text: fmt.Sprintf("input %s could not be read from any node: %v", c, cause),
	}
}

// failedIn makes a failure of whatever error a program's run gave, and says in
// which of the task's programs it was.
func failedIn(role string, err error) *Failed {
	var failed *Failed
	var ran *guest.Error
	switch {
	case errors.As(err, &failed):
		return failed // it names its own subject
	case errors.As(err, &ran):
		failed = &Failed{Kind: ran.Kind, Code: ran.Code, Text: ran.Text, cause: err}
	case errors.Is(err, shuffle.ErrRecord):
		failed = &Failed{Kind: protocol.FailRecord, Text: "its output is not records: " + err.Error(), cause: err}
	case errors.Is(err, shuffle.ErrOrder), errors.Is(err, shuffle.ErrPartition):
		failed = &Failed{Kind: protocol.FailRecord, cause: err, Text: fmt.Sprintf(
			"%v; a combiner must print the keys that it reads, in their order", err)}
	default:
		failed = &Failed{Kind: protocol.FailHost, Text: err.Error(), cause: err}
	}
	if role != "" {
		failed.Text = role + ": " + failed.Text
	}
	return failed
}

// oneLine makes text fit for a receipt of failure: a bounded line of UTF-8.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + " ..."
	}
	return text
}

// maxText bounds a failure's text. It is a line; more belongs to the log.
const maxText = 2 << 10
