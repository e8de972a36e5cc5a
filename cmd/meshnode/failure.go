package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Exit statuses.
const (
	statusFailure = 1
	statusMisuse  = 2
	statusSignal  = 128 // plus its number
)

// misuseError is a command line that means nothing.
type misuseError struct {
	err     error
	command string
}

func (e *misuseError) Error() string { return e.err.Error() }
func (e *misuseError) Unwrap() error { return e.err }

// misuse marks err as a mistake in the use of cmd.
func misuse(cmd *cobra.Command, err error) error {
	var marked *misuseError
	if errors.As(err, &marked) {
		return err
	}
	return &misuseError{err, cmd.CommandPath()}
}

// interruption is the signal that ended a command.
type interruption struct{ signal syscall.Signal }

func (e *interruption) Error() string {
	if e.signal == syscall.SIGINT {
		return "interrupted"
	}
	return "ended by the signal " + e.signal.String()
}

// Is lets what knows of contexts only see a context that was cancelled.
func (e *interruption) Is(target error) bool { return target == context.Canceled }

// hintedError is an error with a word on what to do about it.
type hintedError struct {
	error
	hint string
}

func (e *hintedError) Unwrap() error { return e.error }

func hinted(err error, hint string) error { return &hintedError{err, hint} }

// printedError has been shown; only its exit status is left.
type printedError struct{ error }

func (e *printedError) Unwrap() error { return e.error }

func exitStatus(err error) int {
	var wrong *misuseError
	var signal *interruption
	switch {
	case err == nil:
		return 0
	case errors.As(err, &signal):
		return statusSignal + int(signal.signal)
	case errors.As(err, &wrong):
		return statusMisuse
	}
	return statusFailure
}

// printError writes what went wrong, and what to do.
func printError(w io.Writer, a *app, err error) {
	var shown *printedError
	if err == nil || errors.As(err, &shown) {
		return
	}
	text, hint := err.Error(), hintFor(a, err)
	var none *local.NotRunningError
	if errors.As(err, &none) { // its hint needs the flags of this command line
		text = "no node is running in " + none.Dir
	}
	fmt.Fprintln(w, "meshnode: "+strings.TrimRight(text, "\n"))
	if !strings.Contains(hint, a.self()) { // it shall name the node that this command line talks to
		hint = strings.ReplaceAll(hint, ": meshnode ", ": "+a.self()+" ")
	}
	if hint != "" {
		fmt.Fprintln(w, "hint: "+hint)
	}
}

// hintFor says what to do about err; "" when its text must be enough.
func hintFor(a *app, err error) string {
	var given *hintedError
	var wrong *misuseError
	var none *local.NotRunningError
	switch {
	case errors.As(err, &given):
		return given.hint
	case errors.As(err, &wrong):
		return "see: " + wrong.command + " --help"
	case errors.As(err, &none):
		return "start one with: " + a.self() + " start"
	case errors.Is(err, local.ErrForbidden):
		return "run this command as the user who runs the node, or choose another node with --dir"
	case errors.Is(err, local.ErrStopping), errors.Is(err, local.ErrGone):
		return "jobs that were accepted go on; ask any node of the mesh, or start this one again with: " + a.self() + " start"
	case errors.Is(err, node.ErrUnknownJob):
		return "list the jobs that live members know with: " + a.self() + " job ls"
	case errors.Is(err, node.ErrNotFinished):
		return "wait for it with: " + a.self() + " job wait JOB"
	case errors.Is(err, node.ErrNotFound):
		return "the nodes that hold it may be down; see: " + a.self() + " peer ls"
	case errors.Is(err, syscall.ENOSPC):
		return "free some space and try again; the mesh still has what it had"
	case errors.Is(err, node.ErrJobFailed):
		return "see what happened with: meshnode job status JOB, and: meshnode job logs JOB"
	case strings.Contains(err.Error(), "the disk is full"): // the local API carries no system errors
		return "free some space and try again; the mesh still has what it had"
	case strings.Contains(err.Error(), "compiling "):
		return "mend the program; it must compile by itself, as one file, with: GOOS=wasip1 GOARCH=wasm go build FILE"
	case strings.Contains(err.Error(), "wasm"):
		return "programs are modules for WASI preview 1, made for Go with: GOOS=wasip1 GOARCH=wasm go build"
	case errors.Is(err, node.ErrInput):
		return "check what the command names; see its --help"
	case errors.Is(err, protocol.ErrCID):
		return "a CID looks like bafkrei... or bafybei...; meshnode add PATH prints one"
	}
	return ""
}
