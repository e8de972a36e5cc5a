// Command meshnode is one node of a leaderless compute mesh, and the way to
// talk to it: `meshnode start` runs a node in the foreground, every other
// command calls the node that runs in the same directory.
//
// Each command has a file of its own: its flags, what it calls, and what it
// prints. Facts go to standard output, progress and errors to standard error.
// The exit status is 0 for success, 1 for failure, 2 for misuse, and 128 plus
// the signal's number after one.
//
// Commands run one at a time, in one goroutine; only the display of progress
// is called from others.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"charm.land/fang/v2"

	"github.com/meshnode/meshnode/internal/guest"
)

func main() {
	guest.ServeIfChild()
	os.Exit(run())
}

// run runs the command of the process's arguments and returns its exit status.
func run() int {
	ctx, end := untilSignal()
	defer end()
	a := &app{}
	root := newRoot(a)
	var failed error
	guard(root, &failed)
	err := fang.Execute(ctx, root,
		fang.WithVersion(readBuild().Version),
		fang.WithErrorHandler(func(io.Writer, fang.Styles, error) {}), // we print it below
	)
	if err != nil { // what cobra found wrong before a command ran
		err = misuse(root, err)
	} else {
		err = failed
	}
	printError(os.Stderr, a, err)
	return exitStatus(err)
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends, with an
// *interruption as its cause. A second one ends the process at once.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-signals:
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			cancel(&interruption{s.(syscall.Signal)})
		case <-done:
		}
	}()
	return ctx, func() { close(done); cancel(nil) }
}
