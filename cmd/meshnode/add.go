package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func newAdd(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add PATH",
		Short: "Put a file or folder into the mesh",
		Long: `Put a file or folder into the mesh and print its CID, the name by which every
member can read it. The command returns when three nodes hold every block, or all
of them when fewer live. Nothing that was added is ever deleted in this version.

The CID is the one that IPFS tools compute with CIDv1, chunks of 1 MiB and raw
leaves.`,
		Example: `meshnode add docs
meshnode add docs --json
meshnode run --map 'exec:tr a-z A-Z' --in $(meshnode add docs)`,
		Args: exactly(1, "one file or folder to add"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := mustExist(args[0]); err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			show := newDisplay(os.Stderr, "adding")
			added, err := c.Add(cmd.Context(), args[0], show.moved)
			show.close()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), added)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), added.CID)
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// exactly requires n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s takes %s, not %s", cmd.CommandPath(), what, count(len(args), "argument"))
		}
		return nil
	}
}

// mustExist fails with one clear line for a path that is not there: the node
// would find out only after a round trip.
func mustExist(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return hinted(fmt.Errorf("%s: no such file or folder", path), "paths are taken from the folder you are in")
	}
	return err
}
