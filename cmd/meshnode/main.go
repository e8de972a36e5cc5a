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
	"github.com/spf13/cobra"

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
	err := execute(ctx, root)
	if err != nil { // what cobra found wrong before a command ran
		err = misuse(root, err)
	} else {
		err = failed
	}
	printError(os.Stderr, a, err)
	return exitStatus(err)
}

// execute runs the command that the arguments name. Help is styled on a
// terminal and plain elsewhere, and with NO_COLOR: fang asks a terminal for its
// background first, and some never answer.
func execute(ctx context.Context, root *cobra.Command) error {
	version := readBuild().Version
	manPage := len(os.Args) > 1 && os.Args[1] == "man" // fang's, and read by a pipe
	if manPage || onTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" {
		return fang.Execute(ctx, root,
			fang.WithVersion(version),
			fang.WithErrorHandler(func(io.Writer, fang.Styles, error) {}), // run prints it
		)
	}
	root.Version, root.SilenceErrors, root.SilenceUsage = version, true, true
	return root.ExecuteContext(ctx)
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
