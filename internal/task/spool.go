package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/meshnode/meshnode/internal/shuffle"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

const (
	// fetchers is how many inputs of one task are fetched at once: enough to
	// hide a round trip, few enough for as many holders to serve many tasks.
	fetchers = 4
	// maxSpool bounds what a task merges: no sum of lengths overflows, and no
	// node has such a disk.
	maxSpool = 1 << 44
)

// piece is the part of an input's shuffle file that a task merges.
type piece struct {
	in   protocol.Input
	file protocol.CID
	part protocol.Partition
}

func pieceOf(in protocol.Input, doc protocol.Shuffle, p int) piece {
	return piece{in: in, file: doc.File, part: doc.Parts[p]}
}

// document reads and checks the shuffle document that an input is.
func (t *running) document(ctx context.Context, in protocol.Input) (protocol.Shuffle, error) {
	var doc protocol.Shuffle
	if err := storage.GetDoc(ctx, t.get, in.CID, &doc); err != nil {
		return protocol.Shuffle{}, lost(in.CID, err)
	}
	want := t.w.Manifest.Stages[t.w.Task.Stage-1].Partitions
	ok := len(doc.Parts) == want
	var at int64
	for _, p := range doc.Parts {
		ok = ok && p.Offset == at && p.Length >= 0 && p.Length < maxSpool-at
		if !ok {
			break
		}
		at += p.Length
	}
	if !ok || (at > 0) != doc.File.Defined() {
		return protocol.Shuffle{}, lost(in.CID, fmt.Errorf("it is not a shuffle document of %d partitions", want))
	}
	return doc, nil
}

// spool holds fetched pieces until they are merged. A merge reads its sources
// in the order of their keys, so one fetched on the way would keep its sender
// waiting for as long as the others have lesser keys.
type spool struct {
	at   []int64 // where each piece begins, and where the last ends
	data interface {
		io.ReaderAt
		io.WriterAt
	}
	file *os.File // behind data, unless that is memory
}

// spool fetches the pieces: into memory if they fit, else into scratch.
func (t *running) spool(ctx context.Context, pieces []piece) (*spool, error) {
	s := &spool{at: make([]int64, len(pieces)+1)}
	for i, p := range pieces {
		s.at[i+1] = s.at[i] + p.part.Length
		if s.at[i+1] > maxSpool {
			return nil, fmt.Errorf("%d inputs are too large to merge: more than %d bytes", len(pieces), int64(maxSpool))
		}
	}
	if size := s.at[len(pieces)]; size <= t.r.cfg.SortMemory {
		s.data = memory(make([]byte, size))
	} else {
		f, err := shuffle.Scratch(t.r.scratch)
		if err != nil {
			return nil, err
		}
		s.data, s.file = f, f
	}
	err := each(ctx, len(pieces), func(ctx context.Context, i int) error {
		return t.fetch(ctx, pieces[i], io.NewOffsetWriter(s.data, s.at[i]))
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// fetch writes one piece to w.
func (t *running) fetch(ctx context.Context, p piece, w io.Writer) error {
	if p.part.Length == 0 {
		return nil
	}
	to := &exact{w: w, left: p.part.Length}
	err := t.r.cfg.Inputs.Range(ctx, p.file, p.part.Offset, p.part.Length, p.part.Sum, p.in, to)
	if to.err != nil {
		return fmt.Errorf("keeping a fetched input: %w", to.err)
	}
	if err == nil && to.left > 0 {
		err = fmt.Errorf("%d bytes are missing: %w", to.left, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return lost(p.in.CID, err)
	}
	return nil
}

// readers reads pieces i to j, in order, without the empty ones.
func (s *spool) readers(i, j int) []io.Reader {
	var out []io.Reader
	for ; i < j; i++ {
		if n := s.at[i+1] - s.at[i]; n > 0 {
			out = append(out, io.NewSectionReader(s.data, s.at[i], n))
		}
	}
	return out
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name: nothing can stay
	}
}

// memory is bytes that are written before they are read, each once.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }

// exact lets no more than a number of bytes pass and remembers why writing
// failed.
type exact struct {
	w    io.Writer
	left int64
	err  error
}

var errSurplus = errors.New("more bytes came than were asked for")

func (e *exact) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, errSurplus
	}
	n, err := e.w.Write(p)
	e.left -= int64(n)
	e.err = err
	return n, err
}

// failing is a reader that only fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// each calls do for 0 to n-1, a few at once, and returns the first error, after
// which the others' context has ended.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, fetchers) {
		workers.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err) // the first counts
				}
			}
		})
	}
	for i := range n {
		select {
		case next <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
