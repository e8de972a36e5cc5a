package storage

import (
	"context"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
)

// Part is a file that is joined with others into one.
type Part struct {
	CID  protocol.CID
	Size int64 // bytes of content
}

// Concat makes one file of parts by linking to them in order; no content is
// read. One part alone is the result itself, and no parts give the empty file.
// There may be at most protocol.ConcatWidth parts.
func Concat(ctx context.Context, p Putter, parts []Part) (protocol.CID, int64, error) {
	if len(parts) > protocol.ConcatWidth {
		return "", 0, fmt.Errorf("joining %d files into one: at most %d at a time", len(parts), protocol.ConcatWidth)
	}
	if len(parts) == 1 {
		return parts[0].CID, parts[0].Size, nil
	}
	pieces := make([]piece, len(parts))
	for i, part := range parts {
		if codec := part.CID.Codec(); part.Size < 0 || codec != protocol.CodecRaw && codec != protocol.CodecDagPB {
			return "", 0, fmt.Errorf("joining %s of %d bytes: not a file", describe(part.CID), part.Size)
		}
		// The total size is unknown without reading the part, and serves
		// people only; the size of its content is the honest bound that is
		// the same on every node.
		pieces[i] = piece{link: pbLink{cid: part.CID, total: uint64(part.Size)}, size: part.Size}
	}
	if len(pieces) == 0 {
		leaf, err := putLeaf(ctx, p, nil)
		return leaf.link.cid, 0, err
	}
	root, err := join(ctx, p, pieces)
	return root.link.cid, root.size, err
}

// Parts returns the parts that a tree of Concat joined: root is made of count
// files, ConcatWidth to a node, level by level until one node is left. It
// fails when root is not such a tree.
func Parts(ctx context.Context, g Getter, root protocol.CID, count int) ([]Part, error) {
	if count < 0 || count > protocol.MaxTasks {
		return nil, fmt.Errorf("taking %s apart into %d files: at most %d", root, count, protocol.MaxTasks)
	}
	if count == 0 {
		return nil, nil
	}
	span := 1 // parts under a child of the root
	for span*protocol.ConcatWidth < count {
		span *= protocol.ConcatWidth
	}
	size := int64(0)
	if count == 1 {
		n, err := getFS(ctx, g, root)
		if err != nil {
			return nil, err
		}
		size = n.size
	}
	parts, err := appendParts(ctx, g, nil, Part{CID: root, Size: size}, count, span)
	if err != nil {
		return nil, fmt.Errorf("taking %s apart into %d files: %w", root, count, err)
	}
	return parts, nil
}

// appendParts appends the count parts under node, whose children have span
// parts each, the last one perhaps fewer.
func appendParts(ctx context.Context, g Getter, parts []Part, node Part, count, span int) ([]Part, error) {
	if count == 1 {
		return append(parts, node), nil
	}
	for count <= span { // a single child was not wrapped
		span /= protocol.ConcatWidth
	}
	n, err := getFS(ctx, g, node.CID)
	if err != nil {
		return nil, err
	}
	want := (count + span - 1) / span
	if !n.isFile() || len(n.links) != want || len(n.data) > 0 {
		return nil, malformed("%s joins %d files, not %d", node.CID, len(n.links), want)
	}
	for i, l := range n.links {
		child := Part{CID: l.cid, Size: n.sizes[i]}
		if parts, err = appendParts(ctx, g, parts, child, min(count, span), span); err != nil {
			return nil, err
		}
		count -= span
	}
	return parts, nil
}
