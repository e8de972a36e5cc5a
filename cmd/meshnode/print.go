package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/internal/local"
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

// fullID is how a node's ID looks inside the texts of nodes.
var fullID = regexp.MustCompile(`\b(12D3KooW|Qm)[1-9A-HJ-NP-Za-km-z]{44}\b`)

// in puts names in the place of the IDs in a text.
func (n names) in(text string) string {
	return fullID.ReplaceAllStringFunc(text, func(s string) string {
		id, err := peer.Decode(s)
		if err != nil {
			return s
		}
		return n.of(id)
	})
}

// namedError is an error whose text names nodes as people know them.
type namedError struct {
	error
	text string
}

func (e *namedError) Error() string { return e.text }
func (e *namedError) Unwrap() error { return e.error }

// inError puts names in the place of the IDs in an error's text.
func (n names) inError(err error) error {
	if err == nil || !fullID.MatchString(err.Error()) {
		return err
	}
	return &namedError{err, n.in(err.Error())}
}

// knownNames are the names that the node knows; none, when it does not answer:
// what there is to say is then said with IDs.
func knownNames(ctx context.Context, c *local.Client) names {
	peers, err := c.Peers(ctx)
	if err != nil {
		return nil
	}
	return namesOf(peers)
}

// orDash stands for what is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
