package scheduler

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestReasons: three nodes are named, each with its reason, and the others are
// counted.
func TestReasons(t *testing.T) {
	why := func(n *Node) string { return "it is " + string(n.ID)[:1] }
	var nodes []Node
	want := []string{"no live node is known", "it is a", "it is b", "it is c", "it is c; and 1 node more", "it is c; and 2 nodes more"}
	for i, end := range want {
		got := Reasons(nodes, why)
		if !strings.HasSuffix(got, end) || strings.Count(got, ": it is ") != min(i, maxReasons) {
			t.Errorf("%d nodes: %q", len(nodes), got)
		}
		nodes = append(nodes, Node{ID: peer.ID(string(rune('a' + i)))})
	}
}
