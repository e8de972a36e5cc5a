package shuffle

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// runs are the sorted runs of a Sorter, one after another in one scratch file.
// When MaxFanIn of them have gathered they are merged into one.
type runs struct {
	dir     string
	file    *os.File // nil while there are none
	end     int64
	bounds  [][]int64    // by run: where each partition begins, and where the last ends
	readers []lineReader // by run; their buffers serve one partition after another
}

// add appends a run; write writes one partition of it.
func (r *runs) add(partitions int, write func(p int, w *bufio.Writer) error) error {
	if len(r.bounds) == MaxFanIn {
		if err := r.compact(partitions); err != nil {
			return err
		}
	}
	if r.file == nil {
		f, err := Scratch(r.dir)
		if err != nil {
			return err
		}
		r.file = f
	}
	to := &counter{w: io.NewOffsetWriter(r.file, r.end)}
	w := bufio.NewWriterSize(to, writeBuffer)
	bounds := make([]int64, partitions+1)
	for p := range partitions {
		bounds[p] = r.end + to.n + int64(w.Buffered())
		if err := write(p, w); err != nil {
			return fmt.Errorf("writing a sorted run: %w", err)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing a sorted run: %w", err)
	}
	r.end += to.n
	bounds[partitions] = r.end
	r.bounds = append(r.bounds, bounds)
	return nil
}

// sources reads partition p of every run that has lines of it, in the order of
// the runs. They share buffers with those of any other partition.
func (r *runs) sources(p int) []source {
	if len(r.readers) < len(r.bounds) {
		r.readers = make([]lineReader, len(r.bounds))
	}
	var out []source
	for i, b := range r.bounds {
		if b[p] < b[p+1] {
			r.readers[i].reset(io.NewSectionReader(r.file, b[p], b[p+1]-b[p]))
			out = append(out, &r.readers[i])
		}
	}
	return out
}

// compact merges all runs into one, in a new file. Its place is before every
// later run, so the order of arrival is kept.
func (r *runs) compact(partitions int) error {
	merged := runs{dir: r.dir}
	err := merged.add(partitions, func(p int, w *bufio.Writer) error {
		_, err := w.ReadFrom(newMerger(r.sources(p)))
		return err
	})
	if err != nil {
		_ = merged.close() // err says more
		return err
	}
	if err := r.close(); err != nil {
		return err
	}
	*r = merged
	return nil
}

// close removes the scratch file. It may be called twice.
func (r *runs) close() error {
	f := r.file
	*r = runs{dir: r.dir}
	if f == nil {
		return nil
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("closing a scratch file: %w", err)
	}
	return nil
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
