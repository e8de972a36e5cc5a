package storage

import (
	"bytes"
	"context"
	"io"

	"github.com/meshnode/meshnode/protocol"
)

// piece is a part of a file: a leaf, or a node over pieces.
type piece struct {
	link pbLink
	size int64 // bytes of content
}

// putLeaf stores data as a leaf. A raw leaf is its own total size.
func putLeaf(ctx context.Context, p Putter, data []byte) (piece, error) {
	c := protocol.NewCID(protocol.CodecRaw, data)
	leaf := piece{link: pbLink{cid: c, total: uint64(len(data))}, size: int64(len(data))}
	return leaf, p.Put(ctx, c, data)
}

// balance stores the inner nodes over a file's leaves, all of which have the
// same depth, and returns the root.
func balance(ctx context.Context, p Putter, pieces []piece) (piece, error) {
	if len(pieces) == 0 {
		return putLeaf(ctx, p, nil)
	}
	for len(pieces) > 1 {
		var level []piece
		for len(pieces) > 0 {
			n := min(len(pieces), nodeWidth)
			node, err := join(ctx, p, pieces[:n])
			if err != nil {
				return piece{}, err
			}
			level, pieces = append(level, node), pieces[n:]
		}
		pieces = level
	}
	return pieces[0], nil
}

// join stores one inner node over pieces.
func join(ctx context.Context, p Putter, pieces []piece) (piece, error) {
	n := fsNode{kind: kindFile}
	for _, part := range pieces {
		n.links = append(n.links, part.link)
		n.sizes = append(n.sizes, part.size)
		n.size += part.size
	}
	link, err := putNode(ctx, p, &n)
	return piece{link: link, size: n.size}, err
}

// Write stores all that r gives as a file.
func Write(ctx context.Context, p Putter, r io.Reader) (root protocol.CID, size int64, err error) {
	var leaves []piece
	var buf bytes.Buffer // grows with what there is: most results are small
	for {
		buf.Reset()
		n, err := io.CopyN(&buf, r, ChunkSize)
		if err != nil && err != io.EOF {
			return "", 0, err
		}
		if n > 0 {
			leaf, err := putLeaf(ctx, p, buf.Bytes())
			if err != nil {
				return "", 0, err
			}
			leaves = append(leaves, leaf)
		}
		if err == io.EOF {
			break
		}
	}
	file, err := balance(ctx, p, leaves)
	return file.link.cid, file.size, err
}
