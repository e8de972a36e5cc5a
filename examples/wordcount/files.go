package wordcount

import (
	"io"
	"iter"
	"os"
)

// Files opens the files at paths one after another, for Count.
func Files(paths []string) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, path := range paths {
			f, err := os.Open(path)
			if err != nil {
				yield(nil, err)
				return
			}
			more := yield(f, nil)
			_ = f.Close() // only read
			if !more {
				return
			}
		}
	}
}
