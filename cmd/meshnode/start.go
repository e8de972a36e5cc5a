package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// leaveWithin bounds how long a node may take to leave its mesh after a signal.
const leaveWithin = 8 * time.Second

// startOptions are the flags of start.
type startOptions struct {
	config   node.Config
	memory   byteSize
	logLevel logLevel
}

func newStart(a *app) *cobra.Command {
	o := &startOptions{logLevel: logLevel(slog.LevelWarn)}
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run a node, in the foreground",
		Long: `Run a node in the foreground until Ctrl-C, which leaves the mesh cleanly; a
second Ctrl-C ends the process at once.

The first start founds a private mesh, or joins the one that --join names; later
ones go back to it, under the same name. Every other flag must be given each time.
Nobody gets in without a token (meshnode invite).

Without --listen the node takes connections on every interface of this machine, at
a port of its own that stays the same; a firewall must let it through.

Jobs can demand labels (run --require label=NAME), word by word as --label gives them
here, and memory (run --require mem=SIZE): a node takes no more tasks at once than
--task-memory can be promised to. What a task really takes is bounded by its job (run
--memory), not by that promise.

` + execWarning,
		Example: `# found a mesh, or go back to it
meshnode start
# join one, with a token that a member made
meshnode start --join TOKEN --name kitchen
# with what jobs may ask for
meshnode start --label gpu --label zone=attic --task-memory 24GiB
# two nodes on one machine
meshnode --dir /tmp/a start --listen /ip4/127.0.0.1/tcp/0
meshnode --dir /tmp/b start --listen /ip4/127.0.0.1/tcp/0 --join TOKEN`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return runStart(cmd.Context(), a, o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.config.Join, "join", "", "token of the mesh to join (made by: meshnode invite)")
	f.StringVar(&o.config.Name, "name", "", "name of this node, for people (the host's name)")
	f.StringArrayVar(&o.config.Listen, "listen", nil, "multiaddr to listen on, may be repeated (/ip4/0.0.0.0/tcp/0)")
	f.IntVar(&o.config.Slots, "slots", 0, "tasks to run at once (the number of cores)")
	f.Var(&o.memory, "task-memory", "what all tasks together may be promised (the machine's memory)")
	f.StringArrayVar(&o.config.Labels, "label", nil, "NAME or NAME=VALUE that jobs may demand of their nodes; may be repeated")
	f.BoolVar(&o.config.AllowExec, "allow-exec", false, "run native commands of this mesh's members; read above what that means")
	f.BoolVar(&o.config.MDNS, "mdns", false, "look for members of the mesh on the local network")
	f.Var(&o.logLevel, "log-level", "what to log to standard error: debug, info, warn or error (warn)")
	return cmd
}

// execWarning says what holds today about native commands.
const execWarning = `Programs of kind wasm run in a sandbox. A program of kind exec is a native
command, and runs only on nodes started with --allow-exec: by sh -c, in a private
folder of the task, with no more of the node's environment than PATH, HOME and LANG, in
a process group of its own that is ended with the task. That is NOT a sandbox: the
command runs with all rights of the user who runs the node. Allow it only for a
mesh whose members you trust.`

// check refuses flags that mean nothing.
func (o *startOptions) check(cmd *cobra.Command) error {
	if cmd.Flags().Changed("slots") && o.config.Slots < 1 {
		return misuse(cmd, fmt.Errorf("--slots takes a number above zero, not %d", o.config.Slots))
	}
	if cmd.Flags().Changed("join") && strings.TrimSpace(o.config.Join) == "" {
		return misuse(cmd, errors.New("--join takes a token, and got nothing"))
	}
	for _, label := range o.config.Labels {
		if err := node.CheckLabel(label); err != nil {
			return misuse(cmd, fmt.Errorf("--label: %w", err))
		}
	}
	if len(o.config.Labels) > protocol.MaxLabels {
		return misuse(cmd, fmt.Errorf("--label is given %d times, at most %d", len(o.config.Labels), protocol.MaxLabels))
	}
	for _, addr := range o.config.Listen {
		if _, err := multiaddr.NewMultiaddr(addr); err != nil {
			return misuse(cmd, fmt.Errorf("--listen takes a multiaddr like /ip4/0.0.0.0/tcp/4001, not %q", addr))
		}
	}
	return nil
}

// runStart runs a node until a signal, which is no failure.
func runStart(ctx context.Context, a *app, o *startOptions, out io.Writer) error {
	dir, err := a.home()
	if err != nil {
		return err
	}
	o.config.Dir, o.config.Version = dir, readBuild().Version
	o.config.Join = strings.TrimSpace(o.config.Join)
	if o.config.Memory = int64(o.memory); o.memory == 0 {
		o.config.Memory = machineMemory() // 0, where it is not known, leaves it to the node
	}
	o.config.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.Level(o.logLevel)}))
	named := o.config.Name != ""
	if !named {
		o.config.Name = lastName(dir)
	}
	if o.config.Join != "" { // before anything is made for a mesh that cannot be joined
		if _, err := protocol.ParseToken(o.config.Join); err != nil {
			return startHint(a, o, fmt.Errorf("joining: %w", err))
		}
	}
	n, err := node.New(o.config)
	if err != nil {
		return startHint(a, o, err)
	}
	if named {
		if err := os.WriteFile(filepath.Join(dir, nameFile), []byte(o.config.Name), 0o600); err != nil {
			return errors.Join(fmt.Errorf("keeping the node's name: %w", err), n.Close())
		}
	}
	ended := make(chan error, 1)
	go func() {
		err := serve(ctx, n, o.config, func() error { return announce(out, a, n.Status(), o.config.AllowExec) })
		ended <- errors.Join(err, n.Close())
	}()
	select {
	case err = <-ended:
	case <-ctx.Done():
		err = leave(ended)
	}
	if err != nil && !(ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return startHint(a, o, err)
	}
	return nil
}

// nameFile keeps the name that a node was given last.
const nameFile = "name"

// lastName is that name, or "".
func lastName(dir string) string {
	name, err := os.ReadFile(filepath.Join(dir, nameFile))
	if err != nil {
		return "" // never named: the host's name will do
	}
	return string(name)
}

// leave waits for the end of a node that was told to leave.
func leave(ended <-chan error) error {
	late := time.NewTimer(leaveWithin)
	defer late.Stop()
	select {
	case err := <-ended:
		return err
	case <-late.C:
		return fmt.Errorf("the node did not end within %v, and was given up", leaveWithin)
	}
}

// serve runs the node and, once it is ready, its local API, until ctx ends or
// one of them fails.
func serve(ctx context.Context, n *node.Node, cfg node.Config, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ran := make(chan error, 1)
	go func() { ran <- n.Run(ctx) }()
	select {
	case err := <-ran:
		return err
	case <-n.Ready():
	}
	server, err := local.New(n, cfg.Dir, cfg.Logger)
	if err != nil {
		cancel()
		return errors.Join(err, <-ran)
	}
	served := make(chan error, 1)
	go func() { served <- server.Run(ctx) }()
	err = ready()
	if err == nil {
		select {
		case err = <-ran:
			ran <- nil
		case err = <-served:
			served <- nil
		case <-ctx.Done():
		}
	}
	cancel()
	return errors.Join(err, <-served, <-ran, server.Close())
}

// announce says that the node is up, and how others get in.
func announce(w io.Writer, a *app, st node.Status, exec bool) error {
	may := "native commands are refused (--allow-exec)"
	if exec {
		may = "native commands are allowed"
	}
	rows := [][]string{{"peer ID", st.ID.String()}, {"mesh", st.Mesh}}
	for _, addr := range st.Addrs {
		rows = append(rows, []string{"address", addr})
	}
	rows = append(rows, []string{"home", st.Dir}, []string{"tasks", count(st.Slots, "slot") + "; " + may})
	if _, err := fmt.Fprintf(w, "%s is up\n", printable(st.Name)); err != nil {
		return err
	}
	if err := printTable(w, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
To let another machine in, run here:   %s invite
and on the other machine:              meshnode start --join TOKEN
`, a.self())
	return err
}

// startHint adds what to do about an error of starting or running a node.
func startHint(a *app, o *startOptions, err error) error {
	switch {
	case errors.Is(err, node.ErrInUse) && o.config.AllowExec:
		return hinted(err, "to let that node run native commands, end it (Ctrl-C where it runs, or SIGTERM) and start it again with --allow-exec; or start a second node with another --dir")
	case errors.Is(err, node.ErrInUse):
		return hinted(err, "talk to it with: "+a.self()+" status; or start a second node with another --dir")
	case errors.Is(err, syscall.EADDRINUSE), strings.Contains(err.Error(), "address already in use"):
		return hinted(err, "choose another port with --listen, or any free one with --listen /ip4/0.0.0.0/tcp/0")
	case errors.Is(err, syscall.ENOSPC):
		return hinted(err, "free some space in "+o.config.Dir+", or choose another disk with --dir")
	case errors.Is(err, os.ErrPermission):
		return hinted(err, "choose a directory that you may write to, with --dir")
	case o.config.Join != "":
		return hinted(err, "ask a member of the mesh for a fresh token (meshnode invite)")
	}
	return hinted(err, "choose a directory that a node can use, with --dir; see: meshnode start --help")
}
