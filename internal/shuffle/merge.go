package shuffle

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Merger reads several streams of sorted lines as one. Lines of equal keys come
// in the order of their sources. It is a tournament of losers (Knuth, TAOCP 3,
// section 5.4.1): one comparison a level for each line.
type Merger struct {
	sources []source
	heads   []head
	losers  []int // [0] is the winner, the others inner nodes of the tree
	started bool
	rest    []byte // of the winner's line
	err     error
	scratch []io.Closer
}

// head is the first line of a source that is not yet given.
type head struct {
	prefix uint64
	key    []byte
	line   []byte // nil at the end of the source
}

// NewMerger merges any number of sources, each of them sorted: at most MaxFanIn
// at once, and more in passes through files in the folder dir. Reading fails
// with ErrRecord, or as a source does. It must be closed.
func NewMerger(dir string, sources []io.Reader) (*Merger, error) {
	var scratch []io.Closer
	for len(sources) > MaxFanIn {
		f, err := Scratch(dir)
		if err == nil {
			scratch = append(scratch, f)
			sources, err = mergePass(f, sources)
		}
		if err != nil {
			return nil, errors.Join(err, closeAll(scratch))
		}
	}
	m := newMerger(cutAll(sources))
	m.scratch = scratch
	return m, nil
}

// Close gives back scratch. It may be called twice.
func (m *Merger) Close() error {
	scratch := m.scratch
	m.scratch = nil
	return closeAll(scratch)
}

func closeAll(files []io.Closer) error {
	var err error
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

func cutAll(sources []io.Reader) []source {
	out := make([]source, len(sources))
	for i, r := range sources {
		out[i] = &lineReader{r: r}
	}
	return out
}

func newMerger(sources []source) *Merger {
	return &Merger{sources: sources, heads: make([]head, len(sources)), losers: make([]int, max(1, len(sources)))}
}

// Read implements io.Reader.
func (m *Merger) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		if len(m.rest) == 0 {
			if m.err != nil {
				break
			}
			m.rest, m.err = m.next()
			continue
		}
		c := copy(p[n:], m.rest)
		m.rest = m.rest[c:]
		n += c
	}
	if n == 0 && len(p) > 0 {
		return 0, m.err
	}
	return n, nil
}

// next moves on from the line that was given last, and gives the least.
func (m *Merger) next() ([]byte, error) {
	if len(m.sources) == 0 {
		return nil, io.EOF
	}
	if !m.started {
		m.started = true
		if err := m.start(); err != nil {
			return nil, err
		}
	} else {
		winner := m.losers[0]
		if err := m.load(winner); err != nil {
			return nil, err
		}
		m.replay(winner)
	}
	line := m.heads[m.losers[0]].line
	if line == nil {
		return nil, io.EOF
	}
	return line, nil
}

// start loads every source and plays the whole tournament. The leaves stand at
// n to 2n-1, the children of node i at 2i and 2i+1.
func (m *Merger) start() error {
	n := len(m.sources)
	winners := make([]int, 2*n)
	for i := range m.sources {
		if err := m.load(i); err != nil {
			return err
		}
		winners[n+i] = i
	}
	for node := n - 1; node > 0; node-- {
		a, b := winners[2*node], winners[2*node+1]
		if m.less(b, a) {
			a, b = b, a
		}
		winners[node], m.losers[node] = a, b
	}
	m.losers[0] = winners[1]
	return nil
}

// load takes the next line of source i.
func (m *Merger) load(i int) error {
	line, err := m.sources[i].next()
	if err == io.EOF { // a source's own end is never wrapped
		m.heads[i] = head{}
		return nil
	}
	if err != nil {
		return err
	}
	if len(m.sources) == 1 {
		m.heads[i].line = line // nothing to compare with
		return nil
	}
	key := Key(line)
	m.heads[i] = head{prefix: prefixOf(key), key: key, line: line}
	return nil
}

// replay plays the games of source i on its way to the root.
func (m *Merger) replay(i int) {
	for node := (i + len(m.sources)) / 2; node > 0; node /= 2 {
		if m.less(m.losers[node], i) {
			i, m.losers[node] = m.losers[node], i
		}
	}
	m.losers[0] = i
}

func (m *Merger) less(i, j int) bool {
	a, b := &m.heads[i], &m.heads[j]
	switch {
	case a.line == nil || b.line == nil:
		return a.line != nil
	case a.prefix != b.prefix:
		return a.prefix < b.prefix
	}
	if c := compareTails(a.key, b.key); c != 0 {
		return c < 0
	}
	return i < j
}

// Merge writes the lines of all sources, each of them sorted, to dst in order;
// lines of equal keys in the order of the sources. Where there are more than
// MaxFanIn it uses the system's folder for temporary files. It fails with
// ErrRecord, or as a source or dst does.
func Merge(dst io.Writer, sources []io.Reader) error {
	m, err := NewMerger(os.TempDir(), sources)
	if err != nil {
		return err
	}
	return errors.Join(mergeTo(dst, m), m.Close())
}

// mergePass merges groups of MaxFanIn sources into scratch and returns a reader
// of each group's lines.
func mergePass(scratch *os.File, sources []io.Reader) ([]io.Reader, error) {
	var out []io.Reader
	var at int64
	for len(sources) > 0 {
		n := min(MaxFanIn, len(sources))
		to := io.NewOffsetWriter(scratch, at)
		if err := mergeTo(to, newMerger(cutAll(sources[:n]))); err != nil {
			return nil, err
		}
		end, err := to.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("merging to scratch: %w", err)
		}
		out = append(out, io.NewSectionReader(scratch, at, end))
		at += end
		sources = sources[n:]
	}
	return out, nil
}

func mergeTo(dst io.Writer, m *Merger) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, m, make([]byte, writeBuffer))
	return err
}
