package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/testnet"
)

// testnetOptions are the flags of testnet.
type testnetOptions struct {
	nodes, slots int
	exec         bool
}

func newTestnet(a *app) *cobra.Command {
	o := &testnetOptions{}
	cmd := &cobra.Command{
		Use:   "testnet",
		Short: "Run a mesh of many nodes in this process",
		Long: `Run a mesh of many nodes in this process, on loopback, until Ctrl-C. Every
other command works against it: they talk to its first node, through --dir. Its
nodes live in a temporary folder, which is removed at the end.

` + execWarning,
		Example: `meshnode --dir /tmp/try testnet --nodes 50
# then, elsewhere
meshnode --dir /tmp/try peer ls
meshnode --dir /tmp/try run --map filter.go --in docs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.nodes < 1 || o.nodes > testnet.MaxNodes || o.slots < 1 {
				return misuse(cmd, fmt.Errorf("--nodes takes a number from 1 to %d, and --slots one above zero", testnet.MaxNodes))
			}
			return runTestnet(cmd.Context(), a, o, cmd.OutOrStdout())
		},
	}
	cmd.Flags().IntVar(&o.nodes, "nodes", 50, fmt.Sprintf("how many nodes, at most %d", testnet.MaxNodes))
	cmd.Flags().IntVar(&o.slots, "slots", 1, "tasks that one node runs at once")
	cmd.Flags().BoolVar(&o.exec, "allow-exec", false, "run native commands; read above what that means")
	return cmd
}

// runTestnet runs a testnet and the local API of its first node until a
// signal, which is no failure.
func runTestnet(ctx context.Context, a *app, o *testnetOptions, out io.Writer) (err error) {
	home, err := a.home()
	if err != nil {
		return err
	}
	began := time.Now()
	scratch, err := os.MkdirTemp("", "meshnode-testnet-")
	if err != nil {
		return fmt.Errorf("making the testnet's folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	net, err := testnet.Start(ctx, testnet.Config{Nodes: o.nodes, Slots: o.slots, AllowExec: o.exec, Dir: filepath.Join(scratch, "nodes")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	server, err := local.New(net.Node(0), home, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(out, "%s up after %s; they know each other\n", count(o.nodes, "node"), formatDuration(time.Since(began)))
	fmt.Fprintf(out, "talk to the first one with:  %s peer ls\nend with Ctrl-C\n", a.self())
	if err := server.Run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}
