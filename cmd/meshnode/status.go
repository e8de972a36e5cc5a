package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
)

func newStatus(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what this node is and does",
		Long: `Show what this node is and does: its peer ID, addresses and mesh, how many
members it sees, how many tasks run and wait here, and what its store holds.`,
		Example: "meshnode status\nmeshnode status --json | jq -r .id",
		Args:    exactly(0, "no arguments"),
		RunE: a.withNode(func(cmd *cobra.Command, _ []string, c *local.Client) error {
			st, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if st.Addrs == nil {
				st.Addrs = []string{}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), st)
			}
			return printTable(cmd.OutOrStdout(), statusRows(st))
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func statusRows(st node.Status) [][]string {
	rows := [][]string{{"name", st.Name}, {"peer ID", st.ID.String()}, {"mesh", st.Mesh}}
	for _, addr := range st.Addrs {
		rows = append(rows, []string{"address", addr})
	}
	return append(rows,
		[]string{"home", st.Dir},
		[]string{"peers", strconv.Itoa(st.Peers) + " alive"},
		[]string{"tasks", fmt.Sprintf("%d running, %d queued, %s", st.Running, st.Queued, count(st.Slots, "slot"))},
		[]string{"store", fmt.Sprintf("%s, %s", count(int(st.Blocks), "block"), formatBytes(st.Bytes))},
		[]string{"memory", formatBytes(st.RSSBytes)},
		[]string{"version", orDash(st.Version)},
	)
}
