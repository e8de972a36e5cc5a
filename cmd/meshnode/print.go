package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/node"
)

// jsonFlag adds --json, which every command has that prints facts.
func jsonFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "json", false, "print JSON")
}

// printJSON writes v as one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printJSONLine writes v in one line.
func printJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printTable writes rows in aligned columns; the first row is the heading.
func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	return t.Flush()
}

// printable replaces what could move the cursor or break a column: names come
// from other people's machines.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// shortID is enough of a peer ID to tell it from others.
func shortID(id peer.ID) string {
	const last = 8
	s := id.String()
	if len(s) > last {
		s = s[len(s)-last:]
	}
	return s
}

// names tells peers by name.
type names map[peer.ID]string

func namesOf(peers []node.Peer) names {
	all := make(names, len(peers))
	for _, p := range peers {
		all[p.ID] = p.Name
	}
	return all
}

// of is a peer's name and the end of its ID.
func (n names) of(id peer.ID) string {
	if id == "" {
		return "-"
	}
	if name := n[id]; name != "" {
		return printable(name) + " (" + shortID(id) + ")"
	}
	return shortID(id)
}

// orDash stands for what is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
