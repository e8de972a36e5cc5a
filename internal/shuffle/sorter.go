package shuffle

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"iter"
)

// Sorter takes lines as a program prints them and gives them back by partition
// and key. It holds a bounded number of bytes; beyond them it writes sorted
// runs to scratch, which are merged when it is read.
type Sorter struct {
	memory int64
	cut    cutter
	lines  arena     // the lines that are held
	parts  [][]entry // where each stands, by partition
	held   int64     // bytes of both
	runs   runs
	err    error // what ended it
}

// entry is a line that is held. Its place in the arena is also its place in the
// order of arrival.
type entry struct {
	prefix     uint64
	chunk, pos uint32
	size, key  uint32 // bytes of the line with its newline, and of its key
}

const entrySize = 24

var (
	errFinished = errors.New("writing to a sorter that was read")
	errClosed   = errors.New("using a sorter that was closed")
)

// NewSorter returns a Sorter that writes a run to the folder dir once it holds
// memory bytes; 0 means DefaultMemory. It must be closed.
func NewSorter(dir string, partitions int, memory int64) *Sorter {
	if memory == 0 {
		memory = DefaultMemory
	}
	return &Sorter{memory: memory, parts: make([][]entry, partitions), runs: runs{dir: dir}}
}

// Write takes bytes of lines, cut anywhere. It fails with ErrRecord for a line
// longer than MaxLine, and when scratch cannot be written.
func (s *Sorter) Write(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	var n int
	n, s.err = s.cut.write(p, s.add)
	return n, s.err
}

// add holds a whole line, and makes room for it first.
func (s *Sorter) add(line []byte) error {
	cost := int64(len(line)) + entrySize
	if s.held > 0 && s.held+cost > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.held += cost
	key := Key(line)
	p := PartitionOf(key, len(s.parts))
	chunk, pos := s.lines.add(line)
	s.parts[p] = append(s.parts[p], entry{
		prefix: prefixOf(key), chunk: chunk, pos: pos,
		size: uint32(len(line)), key: uint32(len(key)), // bounded by MaxLine
	})
	return nil
}

// sort orders what is held of every partition.
func (s *Sorter) sort() {
	for _, part := range s.parts {
		sortByPrefix(part, 56, s.compare)
	}
}

// compare orders two lines of one partition. No two are equal: the place tells
// apart what came earlier from what came later.
func (s *Sorter) compare(a, b entry) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	if c := compareTails(s.key(a), s.key(b)); c != 0 {
		return c
	}
	if a.chunk != b.chunk {
		return cmp.Compare(a.chunk, b.chunk)
	}
	return cmp.Compare(a.pos, b.pos)
}

func (s *Sorter) key(e entry) []byte { return s.lines.bytes(e.chunk, e.pos, e.key) }

func (s *Sorter) line(e entry) []byte { return s.lines.bytes(e.chunk, e.pos, e.size) }

// spill writes all that is held as one sorted run.
func (s *Sorter) spill() error {
	s.sort()
	err := s.runs.add(len(s.parts), func(p int, w *bufio.Writer) error {
		for _, e := range s.parts[p] {
			if _, err := w.Write(s.line(e)); err != nil {
				return err
			}
		}
		return nil
	})
	for p, part := range s.parts {
		s.parts[p] = part[:0]
		if cap(part) > 2*len(part)+64 {
			s.parts[p] = nil // so that what is kept stays in proportion to what is held
		}
	}
	s.lines.reset()
	s.held = 0
	return err
}

// Partitions ends the writing and yields every partition in order with a reader
// of its sorted lines, which is valid until the next is asked for. What goes
// wrong comes from the reader: the error of a Write that failed, or of scratch.
// It may be called again.
func (s *Sorter) Partitions() iter.Seq2[int, io.Reader] {
	return func(yield func(int, io.Reader) bool) {
		err := s.finish()
		for p := range s.parts {
			var r io.Reader = &Merger{err: err}
			if err == nil {
				r = newMerger(s.sources(p))
			}
			if !yield(p, r) {
				return
			}
		}
	}
}

// finish sorts what is held, once.
func (s *Sorter) finish() error {
	if errors.Is(s.err, errFinished) {
		return nil
	}
	if s.err == nil {
		s.err = s.cut.end(s.add)
	}
	if s.err != nil {
		return s.err
	}
	s.sort()
	s.err = errFinished
	return nil
}

// sources are the runs of partition p, then what is held of it.
func (s *Sorter) sources(p int) []source {
	out := s.runs.sources(p)
	if len(s.parts[p]) > 0 {
		out = append(out, &heldSource{s: s, part: s.parts[p]})
	}
	return out
}

// heldSource gives the lines of one partition that are held in memory.
type heldSource struct {
	s    *Sorter
	part []entry
}

func (h *heldSource) next() ([]byte, error) {
	if len(h.part) == 0 {
		return nil, io.EOF
	}
	line := h.s.line(h.part[0])
	h.part = h.part[1:]
	return line, nil
}

// Close gives back memory and scratch. It may be called twice.
func (s *Sorter) Close() error {
	s.err, s.cut, s.lines = errClosed, cutter{}, arena{}
	clear(s.parts)
	return s.runs.close()
}
