package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
)

// app is what all commands share: the global flags.
type app struct{ dir string }

// dirVariable names the environment variable that replaces the default home.
const dirVariable = "MESHNODE_DIR"

// home is the node's directory.
func (a *app) home() (string, error) {
	if a.dir != "" {
		return filepath.Abs(a.dir)
	}
	if dir := os.Getenv(dirVariable); dir != "" {
		return filepath.Abs(dir)
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", hinted(fmt.Errorf("finding the home directory: %w", err), "name the node's directory with --dir")
	}
	return filepath.Join(user, ".meshnode"), nil
}

// self is how this command line is begun, with the directory that it used.
func (a *app) self() string {
	if a.dir == "" {
		return "meshnode"
	}
	return "meshnode --dir " + shellWord(a.dir)
}

// shellWord quotes s for a shell where that is needed.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r == '/' || r == '.' || r == '-' || r == '_' || r == '~' ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// dial finds the running node.
func (a *app) dial() (*local.Client, error) {
	dir, err := a.home()
	if err != nil {
		return nil, err
	}
	return local.Dial(dir)
}

// withNode runs call with the running node.
func (a *app) withNode(call func(cmd *cobra.Command, args []string, c *local.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return call(cmd, args, c)
	}
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "meshnode",
		Short: "A leaderless peer-to-peer compute mesh",
		Long: `A leaderless peer-to-peer compute mesh.

Start a node on each of a few machines, submit work from any of them, and unplug
any of them: the job still finishes, with exactly the answer that one machine
would have given.

A node runs in the foreground (meshnode start). Every other command talks to the
node that runs in the same directory (--dir).`,
		Example: `# found a mesh, here
meshnode start
# let another machine in: run this here, and what it prints there
meshnode invite
# run a Go program over the lines of all files in a folder
meshnode run --map filter.go --in docs`,
	}
	root.PersistentFlags().StringVar(&a.dir, "dir", "", "home of the node ($"+dirVariable+", or ~/.meshnode)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, plainFlag(err)) })
	root.SetHelpCommand(newHelp())
	root.AddCommand(
		newStart(a), newInvite(a), newPeer(a), newStatus(a),
		newAdd(a), newCat(a), newGet(a),
		newRun(a), newJob(a), newVersion(),
		newTestnet(a), newDemo(a),
	)
	group(root)
	return root
}

// plainFlag says of a number that is none what would be, and not which function
// of Go found out.
func plainFlag(err error) error {
	text := err.Error()
	before, _, found := strings.Cut(text, "strconv.")
	if !found {
		return err
	}
	return errors.New(before + "it is a whole number")
}

// group makes cmd a command that only holds others: alone it shows its help,
// and it refuses what it does not know.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return misuse(cmd, unknownCommand(cmd, args[0]))
		case cmd.HasParent():
			return misuse(cmd, fmt.Errorf("%s needs a command after it", cmd.CommandPath()))
		}
		return cmd.Help()
	}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	text := fmt.Sprintf("unknown command %q for %s", name, cmd.CommandPath())
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %s?", strings.Join(near, " or "))
	}
	return errors.New(text)
}

// newHelp replaces cobra's help command, which takes an unknown command for a
// success.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Explain a command",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return misuse(cmd, unknownCommand(cmd.Root(), strings.Join(args, " ")))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

// guard keeps the errors of commands for us: fang would ask the terminal for
// its colours before it lets an error go. What fails before a command runs is
// misuse, and cobra returns it.
func guard(cmd *cobra.Command, failed *error) {
	if args := cmd.Args; args != nil {
		cmd.Args = func(cmd *cobra.Command, given []string) error {
			if err := args(cmd, given); err != nil {
				return misuse(cmd, err)
			}
			return nil
		}
	}
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*failed = run(cmd, args)
			return nil
		}
	}
	for _, child := range cmd.Commands() {
		guard(child, failed)
	}
}
