package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

// What a limit of 0 means, as for guests.
const (
	defaultOutput  = 4 << 30
	defaultTimeout = time.Hour
)

var errOutput = errors.New("output limit")

// runFunc runs a function as a program and returns its log. Its failures are
// those of a guest.
func runFunc(ctx context.Context, funcs map[string]Func, name string, limits protocol.Limits, in io.Reader, out io.Writer) ([]byte, error) {
	f, ok := funcs[name]
	if !ok {
		return nil, &guest.Error{Kind: protocol.FailLoad, Text: fmt.Sprintf("the function %q is not registered on this node", name)}
	}
	if limits.Timeout <= 0 {
		limits.Timeout = defaultTimeout
	}
	if limits.Output <= 0 {
		limits.Output = defaultOutput
	}
	timed, cancel := context.WithTimeout(ctx, limits.Timeout)
	defer cancel()
	log := newEnds(limits.Log)
	limited := &limitWriter{ctx: timed.Err, w: out, left: limits.Output}
	err := call(timed, f, funcInput{ctx: timed.Err, r: in}, limited, log)
	switch {
	case err == nil && !limited.over:
	case limited.over:
		err = &guest.Error{Kind: protocol.FailOutput, Text: fmt.Sprintf("printed more than its limit of %d bytes", limits.Output)}
	case ctx.Err() == nil && timed.Err() != nil:
		err = &guest.Error{Kind: protocol.FailTime, Text: fmt.Sprintf("ran longer than its limit of %s", limits.Timeout)}
	default:
		var panicked *guest.Error
		if !errors.As(err, &panicked) {
			err = &guest.Error{Kind: protocol.FailExit, Code: 1, Text: "returned an error: " + err.Error()}
		}
	}
	return log.Bytes(), err
}

// call calls f and makes a failure of a panic.
func call(ctx context.Context, f Func, in io.Reader, out, log io.Writer) (err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(log, "panic: %v\n\n%s", p, debug.Stack())
			err = &guest.Error{Kind: protocol.FailTrap, Text: fmt.Sprintf("panicked: %v", p)}
		}
	}()
	return f(ctx, in, out, log)
}

// funcInput ends with the function's context, so that a function that only
// reads and writes ends with it too.
type funcInput struct {
	ctx func() error
	r   io.Reader
}

func (f funcInput) Read(p []byte) (int, error) {
	if err := f.ctx(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

// limitWriter ends with the function's context, and at its output limit.
type limitWriter struct {
	ctx  func() error
	w    io.Writer
	left int64
	over bool
}

func (l *limitWriter) Write(p []byte) (int, error) {
	if err := l.ctx(); err != nil {
		return 0, err
	}
	if int64(len(p)) > l.left {
		l.over = true
		return 0, errOutput
	}
	l.left -= int64(len(p))
	return l.w.Write(p)
}
