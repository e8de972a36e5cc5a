package storage

import (
	"errors"
	"fmt"
	"math"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meshnode/meshnode/protocol"
)

// The dag-pb codec (https://ipld.io/specs/codecs/dag-pb/spec/). It is written
// out here because nodes come from hostile peers, by the hundred thousand: it
// allocates nothing that the bytes do not hold, and takes only the CIDs that
// the mesh stores. A test holds it against boxo.

// errMalformed is wrapped by every error about the content of a block.
var errMalformed = errors.New("malformed block")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errMalformed, fmt.Sprintf(format, args...))
}

// pbLink is a named link. Total is the size of everything beneath it, as the
// writer claims.
type pbLink struct {
	cid   protocol.CID
	name  string
	total uint64
}

// pbNode is a block under CodecDagPB.
type pbNode struct {
	links []pbLink
	data  []byte // a part of the block's bytes
}

// encode expects links in the order of their names.
func (n *pbNode) encode() []byte {
	var b []byte
	for _, l := range n.links {
		size := protowire.SizeTag(1) + protowire.SizeBytes(len(l.cid)) +
			protowire.SizeTag(2) + protowire.SizeBytes(len(l.name)) +
			protowire.SizeTag(3) + protowire.SizeVarint(l.total)
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(size))
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendString(b, string(l.cid))
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendString(b, l.name)
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, l.total)
	}
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, n.data)
}

// total is the size of the node's encoding b and of everything beneath it.
func (n *pbNode) total(b []byte) uint64 {
	sum := uint64(len(b))
	for _, l := range n.links {
		sum += l.total
	}
	return sum
}

func decodePB(b []byte) (*pbNode, error) {
	n := &pbNode{}
	hasData, linksEnded := false, false
	for len(b) > 0 {
		num, typ, value, rest, err := pbField(b)
		if err != nil {
			return nil, err
		}
		b = rest
		switch {
		case num == 1 && typ == protowire.BytesType && !hasData:
			hasData, linksEnded = true, len(n.links) > 0
			n.data = value
		case num == 2 && typ == protowire.BytesType && !linksEnded:
			l, err := decodePBLink(value)
			if err != nil {
				return nil, err
			}
			n.links = append(n.links, l)
		default:
			return nil, malformed("field %d of a dag-pb node", num)
		}
	}
	return n, nil
}

func decodePBLink(b []byte) (pbLink, error) {
	var l pbLink
	last := protowire.Number(0)
	for len(b) > 0 {
		num, typ, value, rest, err := pbField(b)
		if err != nil {
			return l, err
		}
		if num <= last {
			return l, malformed("field %d of a link out of order", num)
		}
		last = num
		switch {
		case num == 1 && typ == protowire.BytesType:
			if l.cid, err = castCID(value); err != nil {
				return l, err
			}
		case num == 2 && typ == protowire.BytesType:
			l.name = string(value)
		case num == 3 && typ == protowire.VarintType:
			l.total = pbVarint(value)
		default:
			return l, malformed("field %d of a link", num)
		}
		b = rest
	}
	if !l.cid.Defined() {
		return l, malformed("a link to nothing")
	}
	return l, nil
}

// pbField cuts one field off b. The value of a varint is its encoding.
func pbField(b []byte) (num protowire.Number, typ protowire.Type, value, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 {
		return 0, 0, nil, nil, malformed("%v", protowire.ParseError(n))
	}
	b = b[n:]
	switch typ {
	case protowire.BytesType:
		value, n = protowire.ConsumeBytes(b)
	default:
		if n = protowire.ConsumeFieldValue(num, typ, b); n >= 0 {
			value = b[:n]
		}
	}
	if n < 0 {
		return 0, 0, nil, nil, malformed("%v", protowire.ParseError(n))
	}
	return num, typ, value, b[n:], nil
}

func pbVarint(value []byte) uint64 {
	v, _ := protowire.ConsumeVarint(value)
	return v
}

// castCID reads a binary CID that the mesh can store.
func castCID(b []byte) (protocol.CID, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return "", malformed("a link: %v", err)
	}
	out, err := protocol.FromCid(c)
	if err != nil {
		return "", malformed("a link: %v", err)
	}
	return out, nil
}

// size64 bounds a claimed size to what an int64 can count.
func size64(v uint64) (int64, error) {
	if v > math.MaxInt64 {
		return 0, malformed("a size of %d", v)
	}
	return int64(v), nil
}
