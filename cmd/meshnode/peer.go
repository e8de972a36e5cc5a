package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
	"github.com/meshnode/meshnode/node"
)

func newPeer(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "peer",
		Short:   "Look at the members of the mesh",
		Long:    "Look at the members of the mesh, as this node sees them.",
		Example: "meshnode peer ls",
	}
	cmd.AddCommand(newPeerList(a))
	group(cmd)
	return cmd
}

func newPeerList(a *app) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the members of the mesh",
		Long: `List the members of the mesh as this node sees them; * marks the node itself.

A member is alive, suspect (it missed probes and may yet answer), dead, or left
(it said so). Its load is its running and queued tasks over its slots; its labels,
shown when there are any, are what jobs may demand of their nodes.`,
		Example: "meshnode peer ls\nmeshnode peer ls --json | jq -r '.[] | select(.state == \"alive\") | .name'",
		Args:    exactly(0, "no arguments"),
		RunE: a.withNode(func(cmd *cobra.Command, _ []string, c *local.Client) error {
			peers, err := c.Peers(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), filled(peers))
			}
			return printTable(cmd.OutOrStdout(), peerRows(peers))
		}),
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// filled returns peers without nulls, so that scripts need not expect any.
func filled(peers []node.Peer) []node.Peer {
	all := make([]node.Peer, 0, len(peers))
	for _, p := range peers {
		if p.Addrs == nil {
			p.Addrs = []string{}
		}
		if p.Labels == nil {
			p.Labels = []string{}
		}
		all = append(all, p)
	}
	return all
}

func peerRows(peers []node.Peer) [][]string {
	rows := [][]string{{"NAME", "PEER", "STATE", "LOAD", "SLOTS", "VERSION", "ADDRESS"}}
	labelled := slices.ContainsFunc(peers, func(p node.Peer) bool { return len(p.Labels) > 0 })
	if labelled {
		rows[0] = append(rows[0], "LABELS")
	}
	for _, p := range peers {
		name, addr := p.Name, "-"
		if p.Self {
			name += " *"
		}
		if len(p.Addrs) > 0 {
			addr = p.Addrs[0]
		}
		load := strconv.FormatFloat(p.Load, 'f', 2, 64)
		if p.State == node.Dead || p.State == node.Left {
			load = "-" // what it said last means nothing any more
		}
		row := []string{name, shortID(p.ID), string(p.State), load, strconv.Itoa(p.Slots), orDash(p.Version), addr}
		if labelled {
			row = append(row, orDash(strings.Join(p.Labels, ",")))
		}
		rows = append(rows, row)
	}
	return rows
}
