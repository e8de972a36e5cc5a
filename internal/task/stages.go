package task

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"

	"github.com/meshnode/meshnode/internal/shuffle"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// mapSplit runs the program over a split and stores what it prints: as a file,
// or sorted and partitioned.
func (t *running) mapSplit(ctx context.Context) (Output, error) {
	splits := t.w.Manifest.Splits
	ranges, err := storage.ReadSplit(ctx, t.get, splits, t.w.Task.Index)
	if err != nil {
		return Output{}, t.get.failure(splits, err)
	}
	t.r.cfg.Inputs.Prefetch(ctx, smallFiles(ranges), t.w.Inputs)
	root := splits // to name where a malformed file has no name of its own
	if len(ranges) > 0 {
		root = ranges[0].File
	}
	in := inputReader{
		r:       storage.NewSplitReader(ctx, t.get, ranges),
		failure: func(err error) error { return t.get.failure(root, err) },
	}
	from := reads{Ranges: ranges}
	if t.stage.Partitions == 0 {
		return t.store(ctx, from, in)
	}
	sorter := shuffle.NewSorter(t.r.scratch, t.stage.Partitions, t.r.cfg.SortMemory)
	defer sorter.Close() // its scratch has no name: nothing can stay
	if err := t.program(ctx, "", t.stage.Program, from, in, sorter); err != nil {
		return Output{}, err
	}
	return t.shuffle(ctx, from, sorter.Partitions())
}

// smallFiles are the files of a split that are one block each: to ask for
// them one by one would cost a round trip each.
func smallFiles(ranges []protocol.Range) []protocol.CID {
	var out []protocol.CID
	for _, r := range ranges {
		if r.File.Codec() == protocol.CodecRaw {
			out = append(out, r.File)
		}
	}
	return out
}

// store runs the stage's program over in and stores what it prints as a file.
func (t *running) store(ctx context.Context, from reads, in io.Reader) (Output, error) {
	up := t.newUpload(ctx)
	defer up.abort()
	if err := t.program(ctx, "", t.stage.Program, from, in, up); err != nil {
		return Output{}, err
	}
	root, size, err := up.finish()
	return Output{Result: root, Size: size}, err
}

// shuffle stores the sorted lines of each partition, through the combiner if
// there is one, as one file and the document that says where each begins.
func (t *running) shuffle(ctx context.Context, from reads, parts iter.Seq2[int, io.Reader]) (Output, error) {
	up := t.newUpload(ctx)
	defer up.abort()
	doc := protocol.Shuffle{Parts: make([]protocol.Partition, t.stage.Partitions)}
	var at int64
	for p, lines := range parts {
		if err := ctx.Err(); err != nil {
			return Output{}, err
		}
		sum := sha256.New()
		to := &counter{w: io.MultiWriter(sum, up)}
		from.Partition = p
		if err := t.partition(ctx, from, lines, to); err != nil {
			return Output{}, err
		}
		doc.Parts[p] = protocol.Partition{Offset: at, Length: to.n, Sum: protocol.Digest(sum.Sum(nil))}
		at += to.n
	}
	if up.begun() {
		var err error
		if doc.File, _, err = up.finish(); err != nil {
			return Output{}, err
		}
	}
	result, _, err := storage.PutDoc(ctx, t.put, doc)
	return Output{Result: result, Size: at}, err
}

// partition writes the sorted lines of one partition, which from names, to w.
func (t *running) partition(ctx context.Context, from reads, lines io.Reader, w io.Writer) error {
	if t.stage.Combine == nil {
		_, err := io.CopyBuffer(w, lines, make([]byte, programBuffer))
		return err
	}
	const role = "the combiner"
	buffered := bufio.NewWriterSize(w, programBuffer)
	check := shuffle.NewChecker(buffered, from.Partition, t.stage.Partitions)
	if err := t.program(ctx, role, t.stage.Combine, from, lines, check); err != nil {
		return err
	}
	if err := errors.Join(check.Close(), buffered.Flush()); err != nil {
		return failedIn(role, err)
	}
	return nil
}

// merge merges the shuffle files of its inputs, partition by partition.
func (t *running) merge(ctx context.Context) (Output, error) {
	pieces := make([]piece, 0, len(t.w.Inputs)*t.stage.Partitions)
	docs := make([][]piece, len(t.w.Inputs))
	err := each(ctx, len(docs), func(ctx context.Context, i int) error {
		doc, err := t.document(ctx, t.w.Inputs[i])
		for p := range doc.Parts {
			docs[i] = append(docs[i], pieceOf(t.w.Inputs[i], doc, p))
		}
		return err
	})
	if err != nil {
		return Output{}, err
	}
	for p := range t.stage.Partitions {
		for i := range docs {
			pieces = append(pieces, docs[i][p])
		}
	}
	s, err := t.spool(ctx, pieces)
	if err != nil {
		return Output{}, err
	}
	defer s.close()
	from := reads{Inputs: t.inputs()}
	return t.shuffle(ctx, from, func(yield func(int, io.Reader) bool) {
		n := len(docs)
		for p := range t.stage.Partitions {
			m, err := shuffle.NewMerger(t.r.scratch, s.readers(p*n, (p+1)*n))
			if err != nil {
				yield(p, failing{err})
				return
			}
			more := yield(p, m)
			_ = m.Close() // its scratch has no name: nothing can stay
			if !more {
				return
			}
		}
	})
}

// reduce merges one partition of all its inputs and runs the program over it.
func (t *running) reduce(ctx context.Context) (Output, error) {
	p := t.w.Task.Index
	pieces := make([]piece, len(t.w.Inputs))
	err := each(ctx, len(pieces), func(ctx context.Context, i int) error {
		doc, err := t.document(ctx, t.w.Inputs[i])
		if err == nil {
			pieces[i] = pieceOf(t.w.Inputs[i], doc, p)
		}
		return err
	})
	if err != nil {
		return Output{}, err
	}
	s, err := t.spool(ctx, pieces)
	if err != nil {
		return Output{}, err
	}
	defer s.close()
	m, err := shuffle.NewMerger(t.r.scratch, s.readers(0, len(pieces)))
	if err != nil {
		return Output{}, err
	}
	defer m.Close() // its scratch has no name: nothing can stay
	return t.store(ctx, reads{Inputs: t.inputs(), Partition: p}, m)
}

func (t *running) inputs() []protocol.CID {
	out := make([]protocol.CID, len(t.w.Inputs))
	for i, in := range t.w.Inputs {
		out[i] = in.CID
	}
	return out
}

// counter counts what passes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
