package storage

import (
	"context"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
)

// Walk visits every block of the DAG under root once, depth-first, parents
// before their children and children in the order of their links. An error of
// visit ends the walk and is returned. Memory is bounded by the number of
// blocks, not by the number of links.
func Walk(ctx context.Context, g Getter, root protocol.CID, visit func(c protocol.CID, data []byte) error) error {
	todo := []protocol.CID{root}
	seen := map[protocol.CID]bool{root: true}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		data, err := g.Get(ctx, c)
		if err != nil {
			return fmt.Errorf("walking %s: %w", describe(root), err)
		}
		if err := visit(c, data); err != nil {
			return err
		}
		links, err := Links(c, data)
		if err != nil {
			return fmt.Errorf("walking %s: %w", root, err)
		}
		for i := len(links) - 1; i >= 0; i-- {
			if l := links[i]; !seen[l] {
				seen[l] = true
				todo = append(todo, l)
			}
		}
	}
	return nil
}
