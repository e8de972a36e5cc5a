//go:build ignore

// Adds up lines of word, tab, count that are sorted by word, and prints one
// such line for each word. Its output is its own kind of input, so it serves as
// combiner too.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 256<<10)
	out := bufio.NewWriterSize(os.Stdout, 128<<10)
	if err := errors.Join(reduce(in, out), out.Flush()); err != nil {
		os.Stderr.WriteString("wordcount: " + err.Error() + "\n")
		os.Exit(1)
	}
}

func reduce(in *bufio.Reader, out *bufio.Writer) error {
	var word, long []byte
	var sum uint64
	for some := false; ; {
		line, err := in.ReadSlice('\n')
		long = long[:0]
		for err == bufio.ErrBufferFull {
			long = append(long, line...)
			line, err = in.ReadSlice('\n')
		}
		if len(long) > 0 {
			long = append(long, line...)
			line = long
		}
		if err != nil && err != io.EOF {
			return err
		}
		if len(line) == 0 {
			if some {
				print(out, word, sum)
			}
			return nil
		}
		key, count, err := parse(line)
		if err != nil {
			return err
		}
		if some && bytes.Equal(key, word) {
			sum += count
			continue
		}
		if some {
			print(out, word, sum)
		}
		word, sum, some = append(word[:0], key...), count, true
	}
}

// parse splits a line at its tab.
func parse(line []byte) (word []byte, count uint64, err error) {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	tab := bytes.LastIndexByte(line, '\t')
	if tab < 0 {
		return nil, 0, errors.New("no tab in the line " + strconv.Quote(string(line)))
	}
	for _, digit := range line[tab+1:] {
		if digit < '0' || digit > '9' || count > 1<<63/10 {
			return nil, 0, errors.New("no count in the line " + strconv.Quote(string(line)))
		}
		count = count*10 + uint64(digit-'0')
	}
	return line[:tab], count, nil
}

func print(out *bufio.Writer, word []byte, sum uint64) {
	var number [20]byte
	out.Write(word)
	out.WriteByte('\t')
	out.Write(strconv.AppendUint(number[:0], sum, 10))
	out.WriteByte('\n')
}
