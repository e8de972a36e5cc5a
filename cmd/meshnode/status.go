package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

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
members it sees, how many tasks run and wait here, what its store holds, and how
much of what other members sent it has refused, if anything.`,
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
	if len(st.Refused) > 0 {
		rows = append(rows, []string{"refused", refusals(st.Refused)})
	}
	if st.ClockOffset != 0 {
		rows = append(rows, []string{"clock", clockTrouble(st.ClockOffset)})
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

// refusals writes what was refused, the most frequent cause first.
func refusals(counts map[string]int64) string {
	causes := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	for i, cause := range causes {
		causes[i] = fmt.Sprintf("%d %s", counts[cause], strings.ReplaceAll(cause, "_", " "))
	}
	return strings.Join(causes, ", ")
}

// clockTrouble says by how many seconds this machine's clock is off.
func clockTrouble(seconds float64) string {
	way := "behind"
	if seconds < 0 {
		way = "ahead of"
	}
	off := time.Duration(math.Abs(seconds) * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s %s that of most members, which is used for expiry; set this machine's clock right", off, way)
}
