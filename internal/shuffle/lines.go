package shuffle

import (
	"bytes"
	"errors"
	"io"
)

// source gives lines one after another, each with its newline and valid until
// the next call, then io.EOF.
type source interface {
	next() ([]byte, error)
}

// lineReader cuts a stream into lines. A last line without a newline gets one.
type lineReader struct {
	r       io.Reader
	buf     []byte
	at, end int   // what is read and not yet given
	err     error // of r
}

// reset makes l read r with the buffer that it has.
func (l *lineReader) reset(r io.Reader) {
	*l = lineReader{r: r, buf: l.buf}
}

func (l *lineReader) next() ([]byte, error) {
	seen := 0 // bytes after at that hold no newline
	for {
		if i := bytes.IndexByte(l.buf[l.at+seen:l.end], '\n'); i >= 0 {
			line := l.buf[l.at : l.at+seen+i+1]
			l.at += len(line)
			return line, nil
		}
		seen = l.end - l.at
		if seen >= MaxLine { // the buffer never grows beyond it
			return nil, ErrRecord
		}
		if l.err != nil {
			return l.last()
		}
		l.fill()
	}
}

// last gives what stands before the end of the stream.
func (l *lineReader) last() ([]byte, error) {
	if !errors.Is(l.err, io.EOF) || l.at == l.end {
		return nil, l.err
	}
	line := append(l.buf[l.at:l.end:l.end], '\n') // copies: it is done once
	l.at = l.end
	return line, nil
}

// fill reads more behind what is there, and makes room for it first.
func (l *lineReader) fill() {
	if l.at > 0 {
		l.end = copy(l.buf, l.buf[l.at:l.end])
		l.at = 0
	}
	if l.end == len(l.buf) {
		grown := make([]byte, max(readBuffer, 2*len(l.buf)))
		copy(grown, l.buf)
		l.buf = grown
	}
	var n int
	for tries := 0; n == 0 && l.err == nil; tries++ {
		n, l.err = l.r.Read(l.buf[l.end:])
		if tries == 100 && n == 0 && l.err == nil {
			l.err = io.ErrNoProgress
		}
	}
	l.end += n
}

// cutter cuts what is written into lines.
type cutter struct {
	partial []byte // a line whose end has not come
}

// write calls each with every line that p ends, and says how much of p was
// taken. It fails with ErrRecord for a line longer than MaxLine.
func (c *cutter) write(p []byte, each func(line []byte) error) (int, error) {
	written := 0
	for written < len(p) {
		piece := p[written:]
		i := bytes.IndexByte(piece, '\n')
		if i >= 0 {
			piece = piece[:i+1]
		}
		if err := c.take(piece, i >= 0, each); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return written, nil
}

// end calls each with a last line that has no newline, which it gets.
func (c *cutter) end(each func(line []byte) error) error {
	if len(c.partial) == 0 {
		return nil
	}
	return c.take(newline, true, each)
}

// take adds a piece of a line, its last one if ended.
func (c *cutter) take(piece []byte, ended bool, each func(line []byte) error) error {
	if len(c.partial)+len(piece) > MaxLine {
		return ErrRecord
	}
	if ended && len(c.partial) == 0 {
		return each(piece)
	}
	c.partial = append(c.partial, piece...)
	if !ended {
		return nil
	}
	err := each(c.partial)
	c.partial = c.partial[:0]
	return err
}
