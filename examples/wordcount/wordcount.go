// Package wordcount counts words on a mesh: a wasm mapper and reducer, the same
// for Hadoop Streaming in Python, and a plain sequential count to hold their
// result against.
//
// Enter it through [MapModule] and [ReduceModule], or name the files to
// `meshnode run`:
//
//	meshnode run --map map.wasm --combine reduce.wasm --reduce reduce.wasm --in FOLDER
//
// A word is a run of bytes other than space, tab and newline. The package keeps
// no state; its functions may be called from any goroutine.
package wordcount

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
)

//go:generate go run build.go

//go:embed map.wasm
var mapModule string

//go:embed reduce.wasm
var reduceModule string

// MapModule is map.go, compiled.
func MapModule() []byte { return []byte(mapModule) }

// ReduceModule is reduce.go, compiled. It serves as combiner too.
func ReduceModule() []byte { return []byte(reduceModule) }

// Count counts the words of all inputs in one goroutine and writes a line of
// word, tab, count for each to out, sorted by the bytes of the word. The end of
// an input ends a word. It fails when an input or out does.
func Count(out io.Writer, inputs iter.Seq2[io.Reader, error]) error {
	counts := map[string]*int{}
	buf := make([]byte, 256<<10)
	for in, err := range inputs {
		if err != nil {
			return fmt.Errorf("counting words: %w", err)
		}
		if err := countOne(counts, in, buf); err != nil {
			return fmt.Errorf("counting words: %w", err)
		}
	}
	w := bufio.NewWriterSize(out, 128<<10)
	var line []byte
	for _, word := range slices.Sorted(maps.Keys(counts)) {
		line = append(append(line[:0], word...), '\t')
		line = append(strconv.AppendInt(line, int64(*counts[word]), 10), '\n')
		if _, err := w.Write(line); err != nil {
			return fmt.Errorf("writing the counts: %w", err)
		}
	}
	return w.Flush()
}

// countOne adds the words of in to counts. A word that the end of buf cuts is
// gathered in part.
func countOne(counts map[string]*int, in io.Reader, buf []byte) error {
	var part []byte
	for {
		n, err := in.Read(buf)
		start := 0
		for i, b := range buf[:n] {
			if b != ' ' && b != '\t' && b != '\n' {
				continue
			}
			word := buf[start:i]
			if len(part) > 0 {
				part = append(part, word...)
				word = part
			}
			countWord(counts, word)
			start, part = i+1, part[:0]
		}
		part = append(part, buf[start:n]...)
		if errors.Is(err, io.EOF) {
			countWord(counts, part)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func countWord(counts map[string]*int, word []byte) {
	if len(word) == 0 {
		return
	}
	if n := counts[string(word)]; n != nil {
		*n++
		return
	}
	one := 1
	counts[string(word)] = &one
}
