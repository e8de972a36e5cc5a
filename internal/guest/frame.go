package guest

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/meshnode/meshnode/protocol"
)

// Parent and child speak in frames over two pipes: a byte that says what it
// is, the length of its content in four bytes, big endian, and the content.
//
//	parent: task, then after started: input for each credit, one inputEnd;
//	        stop at any time between task and result
//	child:  hello with helloVersion, once; for each task: started, output and log, a credit for
//	        each input consumed, and as the last one result
//
// The next task follows the inputEnd of the one before.
type frameType byte

const (
	frameHello    frameType = 'h'
	frameTask     frameType = 't' // taskSpec
	frameInput    frameType = 'i'
	frameInputEnd frameType = 'e'
	frameStop     frameType = 'k'
	frameStarted  frameType = 's'
	frameOutput   frameType = 'o'
	frameLog      frameType = 'l'
	frameCredit   frameType = 'c'
	frameResult   frameType = 'r' // taskResult
)

const (
	// helloVersion is the content of hello: Config.Executable may be a binary
	// of another version.
	helloVersion = "guest 2"
	headerSize   = 5
	// chunkSize bounds the content of input, output and log frames: large
	// enough that the cost of a frame does not show, small enough that a task
	// costs little memory.
	chunkSize = 128 << 10
	// window is how many input frames may be under way: the child's reader
	// has room for them and so never blocks, and a stop is always heard.
	window = 4
	// maxFrame bounds every frame; the largest is a task with a full list of
	// files with long paths.
	maxFrame = 2 << 20
	// pipeSize lets the two ends work at the same time.
	pipeSize = 256 << 10
)

// taskSpec is a task as the child gets it.
type taskSpec struct {
	Kind    protocol.ProgramKind `cbor:"1,keyasint"`
	Module  string               `cbor:"2,keyasint"`
	Command string               `cbor:"3,keyasint"`
	Files   []File               `cbor:"4,keyasint"`
	Memory  int64                `cbor:"5,keyasint"`
	Seed    [32]byte             `cbor:"6,keyasint"`
	Folder  string               `cbor:"7,keyasint"` // Exec: to be made, and removed at the end
	Env     []string             `cbor:"8,keyasint"`
}

// taskResult is how a task ended. An empty Kind is success.
type taskResult struct {
	Kind   protocol.FailKind `cbor:"1,keyasint"`
	Code   int               `cbor:"2,keyasint"`
	Text   string            `cbor:"3,keyasint"`
	Peak   int64             `cbor:"4,keyasint"`
	Retire bool              `cbor:"5,keyasint"` // the child should not be used again
}

// conn sends and receives frames. Any goroutine may send; one may receive.
type conn struct {
	r *bufio.Reader

	mu  sync.Mutex // guards the fields below
	w   io.Writer
	buf []byte
}

func newConn(r io.Reader, w io.Writer) *conn {
	return &conn{r: bufio.NewReaderSize(r, 4<<10), w: w}
}

// send writes one frame in one piece; content may be reused afterwards.
func (c *conn) send(t frameType, content []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = append(c.buf[:0], byte(t))
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(len(content)))
	c.buf = append(c.buf, content...)
	if _, err := c.w.Write(c.buf); err != nil {
		return fmt.Errorf("sending a %c frame: %w", t, err)
	}
	return nil
}

// receive reads one frame into buf, or into a larger one if it must.
func (c *conn) receive(buf []byte) (frameType, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(c.r, header[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(header[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes, at most %d", n, maxFrame)
	}
	if int(n) > cap(buf) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(c.r, buf); err != nil {
		return 0, nil, fmt.Errorf("reading a frame: %w", err)
	}
	return frameType(header[0]), buf, nil
}
