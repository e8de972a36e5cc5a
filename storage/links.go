package storage

import (
	"encoding/binary"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
)

// maxNesting bounds how deep a document or a DAG nests. Files of any size that
// fits an int64 need seven levels; folders as deep as this have paths that no
// system takes.
const maxNesting = 512

// Links returns the blocks that the block c links to, in the order of the
// links. It fails for a block that is malformed, or that links to something
// which the mesh does not store.
func Links(c protocol.CID, data []byte) ([]protocol.CID, error) {
	switch c.Codec() {
	case protocol.CodecRaw:
		return nil, nil
	case protocol.CodecDagPB:
		n, err := decodePB(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		out := make([]protocol.CID, len(n.links))
		for i, l := range n.links {
			out[i] = l.cid
		}
		return out, nil
	case protocol.CodecDagCBOR:
		s := cborScanner{rest: data}
		if err := s.document(); err != nil {
			return nil, fmt.Errorf("%s: %w", c, err)
		}
		return s.links, nil
	}
	return nil, fmt.Errorf("%s: %w", describe(c), protocol.ErrCID)
}

// cborScanner finds the links of a dag-cbor document of any shape, without
// building it.
type cborScanner struct {
	rest  []byte
	links []protocol.CID
}

// CBOR's major types (RFC 8949, section 3.1).
const (
	cborBytes  = 2
	cborText   = 3
	cborArray  = 4
	cborMap    = 5
	cborTag    = 6
	cborSimple = 7
)

// cborLink is dag-cbor's only tag: a byte string of a zero and a binary CID.
const cborLink = 42

// document reads one item, and all there is.
func (s *cborScanner) document() error {
	open := []uint64{1} // how many items are still to come, by level
	for len(open) > 0 {
		top := len(open) - 1
		if open[top] == 0 {
			open = open[:top]
			continue
		}
		open[top]--
		inside, err := s.item()
		if err != nil {
			return err
		}
		if inside > 0 {
			if open = append(open, inside); len(open) > maxNesting {
				return malformed("a document nested deeper than %d", maxNesting)
			}
		}
	}
	if len(s.rest) > 0 {
		return malformed("%d bytes behind the document", len(s.rest))
	}
	return nil
}

// item reads one item without what is inside it, and returns how many items
// that is.
func (s *cborScanner) item() (inside uint64, err error) {
	major, arg, err := s.head()
	if err != nil {
		return 0, err
	}
	switch major {
	case cborBytes, cborText:
		_, err = s.take(arg)
		return 0, err
	case cborArray, cborMap:
		if arg > uint64(len(s.rest)) { // an item has at least one byte
			return 0, malformed("a list of %d items in %d bytes", arg, len(s.rest))
		}
		if major == cborMap {
			arg *= 2
		}
		return arg, nil
	case cborTag:
		if arg != cborLink {
			return 1, nil // written by something else than dag-cbor; harmless
		}
		return 0, s.link()
	}
	return 0, nil // numbers and simple values end with their head
}

func (s *cborScanner) link() error {
	major, n, err := s.head()
	if err != nil {
		return err
	}
	if major != cborBytes {
		return malformed("a link that is not a byte string")
	}
	b, err := s.take(n)
	if err != nil {
		return err
	}
	if len(b) < 1 || b[0] != 0 {
		return malformed("a link that is not a CID")
	}
	c, err := castCID(b[1:])
	s.links = append(s.links, c)
	return err
}

// head reads an item's major type and argument. Indefinite lengths, which
// dag-cbor forbids, are refused.
func (s *cborScanner) head() (major byte, arg uint64, err error) {
	b, err := s.take(1)
	if err != nil {
		return 0, 0, err
	}
	major, info := b[0]>>5, b[0]&31
	if info < 24 {
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, malformed("a CBOR head of %#x", b[0])
	}
	b, err = s.take(1 << (info - 24))
	if err != nil {
		return 0, 0, err
	}
	var wide [8]byte
	copy(wide[8-len(b):], b)
	return major, binary.BigEndian.Uint64(wide[:]), nil
}

func (s *cborScanner) take(n uint64) ([]byte, error) {
	if n > uint64(len(s.rest)) {
		return nil, malformed("%d bytes announced, %d there", n, len(s.rest))
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b, nil
}
