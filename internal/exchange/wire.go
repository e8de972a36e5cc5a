package exchange

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/meshnode/meshnode/protocol"
)

// The kinds of requests.
const (
	askDAG    = 1 // every block under the named ones, depth-first
	askBlocks = 2 // the named blocks alone
	askRange  = 3 // bytes of the named file
)

// request opens a stream.
type request struct {
	Kind   int            `cbor:"1,keyasint"`
	CIDs   []protocol.CID `cbor:"2,keyasint"`
	Offset int64          `cbor:"3,keyasint,omitempty"`
	Length int64          `cbor:"4,keyasint,omitempty"`
}

func (r *request) check() error {
	if len(r.CIDs) == 0 || len(r.CIDs) > maxWanted {
		return fmt.Errorf("a request for %d blocks, 1 to %d", len(r.CIDs), maxWanted)
	}
	for _, c := range r.CIDs {
		if !c.Defined() {
			return errors.New("a request for a block without a name")
		}
	}
	switch r.Kind {
	case askDAG, askBlocks:
	case askRange:
		if len(r.CIDs) != 1 || r.Offset < 0 || r.Length < 0 || r.Offset+r.Length < 0 {
			return fmt.Errorf("a request for the range %d+%d", r.Offset, r.Length)
		}
	default:
		return fmt.Errorf("a request of kind %d", r.Kind)
	}
	return nil
}

// What a header says.
const (
	sayBlock   = 1 // a block follows, of Size bytes
	sayMissing = 2 // the server lacks the block
	sayEnd     = 3 // nothing more follows
	sayBusy    = 4 // the server has too much to do: come back
	sayFailed  = 5 // the server cannot answer, and Text says why
	sayRange   = 6 // the bytes of the range follow, Size of them
)

// header stands before everything that the server sends.
type header struct {
	Say  int          `cbor:"1,keyasint"`
	CID  protocol.CID `cbor:"2,keyasint"`
	Size int64        `cbor:"3,keyasint,omitempty"`
	Text string       `cbor:"4,keyasint,omitempty"`
}

// maxTextSent bounds the Text of a header, well below maxHeader.
const maxTextSent = 512

func readHeader(r *bufio.Reader) (header, error) {
	var h header
	b, err := protocol.ReadFrame(r, maxHeader)
	if errors.Is(err, io.EOF) {
		return h, errors.New("it ended the stream too early")
	}
	if err != nil {
		return h, err
	}
	return h, protocol.Decode(b, &h)
}

func writeHeader(w io.Writer, h header) error {
	return protocol.WriteFrame(w, protocol.Encode(h))
}

// moving is a stream that ends when nothing moves on it for as long as idle.
// Reading and writing may go on at the same time.
type moving struct {
	network.Stream
	idle          time.Duration
	read, written int // since the deadline was renewed
	started       bool
	writing       bool
}

func (m *moving) Read(p []byte) (int, error) {
	if !m.started || m.read >= idleBytes {
		m.started, m.read = true, 0
		if err := m.SetReadDeadline(time.Now().Add(m.idle)); err != nil {
			return 0, err
		}
	}
	n, err := m.Stream.Read(p)
	m.read += n
	return n, err
}

func (m *moving) Write(p []byte) (int, error) {
	total := 0
	for {
		if !m.writing || m.written >= idleBytes {
			m.writing, m.written = true, 0
			if err := m.SetWriteDeadline(time.Now().Add(m.idle)); err != nil {
				return total, err
			}
		}
		// In pieces, so that a slow peer that does take them has time for
		// each.
		n, err := m.Stream.Write(p[:min(len(p), writePiece)])
		total += n
		m.written += n
		p = p[n:]
		if err != nil || len(p) == 0 {
			return total, err
		}
	}
}

// writePiece is how much must be taken before the stream counts as idle.
const writePiece = 256 << 10
