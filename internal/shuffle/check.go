package shuffle

import (
	"bytes"
	"io"
)

// Checker is a writer that passes lines on for as long as they are in the order
// of their keys and belong to one partition. It tells whether a program that
// reads sorted lines, a combiner, kept what makes them mergeable.
type Checker struct {
	w        io.Writer
	part, of int
	lines    cutter
	last     []byte // the key before
	begun    bool
	err      error
}

// NewChecker passes lines of partition part, among of partitions, on to w one
// by one. It must be closed.
func NewChecker(w io.Writer, part, of int) *Checker {
	return &Checker{w: w, part: part, of: of}
}

// Write takes bytes of lines, cut anywhere. It fails with ErrRecord for a line
// longer than MaxLine, with ErrOrder, with ErrPartition, or as the writer behind
// it does.
func (c *Checker) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	var n int
	n, c.err = c.lines.write(p, c.pass)
	return n, c.err
}

// Close passes on a last line that has no newline. It fails as Write does.
func (c *Checker) Close() error {
	if c.err == nil {
		c.err = c.lines.end(c.pass)
	}
	return c.err
}

func (c *Checker) pass(line []byte) error {
	key := Key(line)
	if order := bytes.Compare(c.last, key); !c.begun || order != 0 {
		if order > 0 {
			return ErrOrder
		}
		if PartitionOf(key, c.of) != c.part {
			return ErrPartition
		}
		c.begun, c.last = true, append(c.last[:0], key...)
	}
	_, err := c.w.Write(line)
	return err
}
