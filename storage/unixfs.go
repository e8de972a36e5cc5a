package storage

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshnode/meshnode/protocol"
)

// UnixFS (https://specs.ipfs.tech/unixfs/) as the profile unixfs-v1-2025 of
// Kubo writes it: the same files give the same CIDs. Everything that the
// format allows is read.

// Parameters of the profile.
const (
	// ChunkSize is the size of a leaf of a file.
	ChunkSize = 1 << 20
	// nodeWidth is how many links an inner node of a file has.
	nodeWidth = 1024
	// shardAbove is the size of a folder's node beyond which it is a HAMT.
	shardAbove = 256 << 10
	// shardWidth is how many slots a node of a HAMT has.
	shardWidth = 256
)

// The kinds of nodes.
const (
	kindRaw       = 0
	kindDirectory = 1
	kindFile      = 2
	kindSymlink   = 4
	kindHAMT      = 5
)

// hashMurmur3 is the only hash that HAMTs in the wild use.
const hashMurmur3 = 0x22

// fsNode is what a dag-pb block says as UnixFS.
type fsNode struct {
	kind   uint64
	data   []byte  // a file's own bytes, or a HAMT's bit field
	size   int64   // of a file
	sizes  []int64 // of the pieces that a file links to
	ends   []int64 // of these pieces, from the node's first byte; set by decoding
	hash   uint64  // of a HAMT
	fanout uint64  // of a HAMT
	links  []pbLink
}

// encode returns the block of n.
func (n *fsNode) encode() (block []byte, total uint64) {
	b := appendVarintField(nil, 1, n.kind)
	if n.kind == kindHAMT {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, n.data)
		b = appendVarintField(b, 5, n.hash)
		b = appendVarintField(b, 6, n.fanout)
	}
	if n.kind == kindFile {
		b = appendVarintField(b, 3, uint64(n.size))
		for _, s := range n.sizes {
			b = appendVarintField(b, 4, uint64(s))
		}
	}
	node := pbNode{links: n.links, data: b}
	block = node.encode()
	return block, node.total(block)
}

func appendVarintField(b []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
}

// decodeFS reads the dag-pb block of a file or folder.
func decodeFS(block []byte) (*fsNode, error) {
	pb, err := decodePB(block)
	if err != nil {
		return nil, err
	}
	n := &fsNode{links: pb.links}
	typed := false
	for b := pb.data; len(b) > 0; {
		num, typ, value, rest, err := pbField(b)
		if err != nil {
			return nil, err
		}
		b = rest
		switch {
		case num == 1 && typ == protowire.VarintType:
			n.kind, typed = pbVarint(value), true
		case num == 2 && typ == protowire.BytesType:
			n.data = value
		case num == 3 && typ == protowire.VarintType:
			n.size, err = size64(pbVarint(value))
		case num == 4:
			err = n.addSizes(typ, value)
		case num == 5 && typ == protowire.VarintType:
			n.hash = pbVarint(value)
		case num == 6 && typ == protowire.VarintType:
			n.fanout = pbVarint(value)
		}
		if err != nil {
			return nil, err
		}
	}
	if !typed {
		return nil, malformed("a dag-pb node that is neither file nor folder")
	}
	return n, n.check()
}

// addSizes takes one size, or several packed into one field.
func (n *fsNode) addSizes(typ protowire.Type, value []byte) error {
	if typ != protowire.VarintType && typ != protowire.BytesType {
		return malformed("sizes of type %d", typ)
	}
	for len(value) > 0 {
		v, used := protowire.ConsumeVarint(value)
		if used < 0 {
			return malformed("%v", protowire.ParseError(used))
		}
		size, err := size64(v)
		if err != nil {
			return err
		}
		n.sizes, value = append(n.sizes, size), value[used:]
	}
	return nil
}

// check holds a node's claims against each other.
func (n *fsNode) check() error {
	switch n.kind {
	case kindRaw, kindFile:
		if len(n.sizes) != len(n.links) {
			return malformed("%d links and %d sizes", len(n.links), len(n.sizes))
		}
		sum := int64(len(n.data))
		for _, s := range n.sizes {
			if sum += s; sum < 0 {
				return malformed("sizes beyond all bounds")
			}
			n.ends = append(n.ends, sum)
		}
		if n.size != sum && (n.size != 0 || len(n.links) > 0) {
			return malformed("a file of %d bytes whose pieces have %d", n.size, sum)
		}
		n.size = sum
	case kindHAMT:
		if n.hash != hashMurmur3 || n.fanout < 8 || n.fanout > nodeWidth || n.fanout&(n.fanout-1) != 0 {
			return malformed("a sharded folder with hash %#x and width %d", n.hash, n.fanout)
		}
	case kindDirectory, kindSymlink:
	default:
		return malformed("a node of kind %d", n.kind)
	}
	return nil
}

func (n *fsNode) isFile() bool { return n.kind == kindRaw || n.kind == kindFile }
func (n *fsNode) isDir() bool  { return n.kind == kindDirectory || n.kind == kindHAMT }

// getFS fetches and decodes the node of a file or folder. A raw block is a
// file without links.
func getFS(ctx context.Context, g Getter, c protocol.CID) (*fsNode, error) {
	if codec := c.Codec(); codec != protocol.CodecRaw && codec != protocol.CodecDagPB {
		return nil, fmt.Errorf("%s is neither a file nor a folder", describe(c))
	}
	block, err := g.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.Codec() == protocol.CodecRaw {
		return &fsNode{kind: kindFile, data: block, size: int64(len(block))}, nil
	}
	n, err := decodeFS(block)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	return n, nil
}

func describe(c protocol.CID) string {
	if !c.Defined() {
		return "the empty CID"
	}
	return c.String()
}

// putNode stores n and returns the link to it.
func putNode(ctx context.Context, p Putter, n *fsNode) (pbLink, error) {
	block, total := n.encode()
	c := protocol.NewCID(protocol.CodecDagPB, block)
	return pbLink{cid: c, total: total}, p.Put(ctx, c, block)
}
