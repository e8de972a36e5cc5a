package node

import (
	"context"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// TestLongInventoriesAreNoDeafness has the inventories of all nodes, this one's
// too, take longer than a deaf node is waited for.
func TestLongInventoriesAreNoDeafness(t *testing.T) {
	nodes := meshOf(t, 2)
	n := nodes[0]
	root := protocol.NewCID(protocol.CodecRaw, []byte("root"))
	for _, n := range nodes {
		must(t, n.store.Put(t.Context(), root, []byte("root")))
	}
	p := scheduler.NewPlacement("key", []protocol.CID{root}, 2, n.mesh.Alive(), n.storing())
	blocks := n.askBlocks("", nil)
	err := n.pursue(t.Context(), p, func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		if a.Round == 1 {
			select { // what thousands of roots take
			case <-time.After(3 * time.Second):
			case <-ctx.Done():
			}
		}
		return blocks(ctx, a)
	})
	if r := p.Result(); err != nil || !r.Enough() || r.Copies != 2 {
		t.Errorf("placed %+v: %v", r, err)
	}
}
