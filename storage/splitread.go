package storage

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/meshnode/meshnode/protocol"
)

// NewSplitReader returns the records of a split. Its ranges may begin and end
// anywhere: like Hadoop's TextInputFormat, each gives the records whose first
// byte lies in it, whole, where a record ends behind a newline or with its
// file. A record that ends with its file without a newline gets one, so that
// the records of two files never run together. Only the blocks that are
// needed are read, with ctx.
func NewSplitReader(ctx context.Context, g Getter, ranges []protocol.Range) io.Reader {
	return &splitReader{ctx: ctx, get: g, todo: ranges}
}

type splitReader struct {
	ctx  context.Context // io.Reader has no room for one; see File
	get  Getter
	todo []protocol.Range

	file *File // of the current range; nil between ranges
	// end is where the range ends: the record that holds the byte before it is
	// the last one.
	end  int64
	last byte // that was given of the current range
	err  error
}

// Read implements io.Reader.
func (s *splitReader) Read(p []byte) (int, error) {
	for len(p) > 0 && s.err == nil {
		if s.file == nil {
			s.err = s.open()
			continue
		}
		n, err := s.read(p)
		if err != nil {
			s.err = err
		}
		if n > 0 {
			return n, nil
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	return 0, s.err
}

// open begins the next range, or returns io.EOF.
func (s *splitReader) open() error {
	if len(s.todo) == 0 {
		return io.EOF
	}
	r := s.todo[0]
	s.todo = s.todo[1:]
	if r.Length == 0 {
		return nil
	}
	f, err := NewFile(s.ctx, s.get, r.File)
	if err != nil {
		return err
	}
	if f.Size() != r.Size {
		return malformed("%s has %d bytes, its split says %d", r.File, f.Size(), r.Size)
	}
	s.end = r.Offset + r.Length
	f.ReadAheadUntil(s.end)
	if r.Offset > 0 {
		found, err := skipRecord(f, r.Offset-1, s.end-1)
		if err != nil || !found {
			return err
		}
	}
	s.file, s.last = f, '\n'
	return nil
}

// skipRecord moves f behind the first newline in [from, end). It reports
// whether there is one: if not, no record begins in the range.
func skipRecord(f *File, from, end int64) (bool, error) {
	f.offset = from
	for f.offset < end {
		l, err := f.next()
		if err != nil {
			return false, fmt.Errorf("looking for a record: %w", err)
		}
		b := l.data[f.offset-l.start:]
		b = b[:min(int64(len(b)), end-f.offset)]
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			f.offset += int64(i) + 1
			return true, nil
		}
		f.offset += int64(len(b))
	}
	return false, nil
}

// read gives what is left of the current range and leaves it at its end.
func (s *splitReader) read(p []byte) (int, error) {
	f := s.file
	l, err := f.next()
	if err == io.EOF {
		s.file = nil
		if s.last == '\n' {
			return 0, nil
		}
		p[0] = '\n'
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	n := copy(p, l.data[f.offset-l.start:])
	// The first newline at or behind the last byte of the range ends it.
	if from := max(0, s.end-1-f.offset); from < int64(n) {
		if i := bytes.IndexByte(p[from:n], '\n'); i >= 0 {
			n = int(from) + i + 1
			s.file = nil
		}
	}
	f.offset += int64(n)
	s.last = p[n-1]
	return n, nil
}
