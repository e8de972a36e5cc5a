package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func newCat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "cat CID",
		Short:   "Print a file of the mesh",
		Long:    "Print the file that a CID names, wherever in the mesh its blocks are. What is read is checked against the CID.",
		Example: "meshnode cat bafybei...\nmeshnode cat bafybei... | head",
		Args:    exactly(1, "one CID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			err = c.Cat(cmd.Context(), id, cmd.OutOrStdout())
			if errors.Is(err, node.ErrInput) && strings.Contains(err.Error(), "is a folder") {
				return hinted(fmt.Errorf("%s is a folder, and cat prints files", id), "copy it out of the mesh with: "+a.self()+" get "+id.String()+" -o PATH")
			}
			return err
		},
	}
}

func newGet(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "get CID -o PATH",
		Short: "Copy a file or folder out of the mesh",
		Long: `Copy the file or folder that a CID names to PATH, which must not exist. The node
writes it, as its own user.`,
		Example: "meshnode get bafybei... -o copy",
		Args:    exactly(1, "one CID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return misuse(cmd, errors.New("where to? name a new file or folder with -o PATH"))
			}
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			if err := mustBeNew(out); err != nil {
				return err
			}
			c, err := a.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			show := newDisplay(os.Stderr, "getting")
			defer show.close()
			return c.Get(cmd.Context(), id, out, show.moved)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "the new file or folder")
	return cmd
}

// parseID reads the ID of a file or job.
func parseID(text string) (protocol.CID, error) {
	id, err := protocol.ParseCID(text)
	if err != nil {
		return "", fmt.Errorf("%q is %w", text, protocol.ErrCID)
	}
	return id, nil
}

// mustBeNew fails unless path can be made: its folder exists, and nothing is
// there.
func mustBeNew(path string) error {
	if _, err := os.Lstat(path); err == nil {
		return hinted(fmt.Errorf("%s exists already", path), "name a new path, or move it away; nothing was overwritten")
	}
	return folderMustExist(path)
}

func folderMustExist(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return hinted(fmt.Errorf("%s: there is no folder %s", path, dir), "make it first: mkdir -p "+shellWord(dir))
	}
	return nil
}
