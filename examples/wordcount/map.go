//go:build ignore

// Counts the words of its input: prints word, tab, count for each. A word is a
// run of bytes other than space, tab and newline.
//
// It counts in a table that it empties when it is full, so a word may be
// printed more than once: the reducer adds up.
package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
)

const (
	// maxWords bounds the table, whatever the input is.
	maxWords = 100_000
	// slots of the table, a power of two: at most 3/4 of them are in use.
	slots = 1 << 17
	// maxText bounds the bytes of the words in the table.
	maxText = 16 << 20
	// chunk is how much is read at a time.
	chunk = 256 << 10
)

// entry is one word of the table: where its bytes are in text.
type entry struct {
	hash   uint32
	offset uint32
	length uint32
	count  uint32
}

// counter is an open hash table of words. Its entries also stand in the order
// in which the words came, which makes its output deterministic.
type counter struct {
	out   *bufio.Writer
	table []uint32 // index of an entry, plus one
	words []entry
	text  []byte
}

func main() {
	c := &counter{out: bufio.NewWriterSize(os.Stdout, 128<<10), table: make([]uint32, slots)}
	if err := c.read(os.Stdin); err != nil {
		fail(err)
	}
	c.flush()
	if err := c.out.Flush(); err != nil {
		fail(err)
	}
}

func fail(err error) {
	os.Stderr.WriteString("wordcount: " + err.Error() + "\n")
	os.Exit(1)
}

// read counts all words of in. A word that a chunk cuts is moved to the front
// of the next one; a word longer than a chunk makes the buffer grow.
func (c *counter) read(in io.Reader) error {
	buf := make([]byte, chunk)
	kept := 0
	for {
		n, err := in.Read(buf[kept:])
		end := kept + n
		rest := c.scan(buf[:end])
		if err == io.EOF {
			if rest < end {
				c.add(buf[rest:end], hash(buf[rest:end]))
			}
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buf, buf[rest:end])
		if kept > len(buf)/2 {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

// FNV-1a, 32 bits.
const (
	seed  = 2166136261
	prime = 16777619
)

func hash(word []byte) uint32 {
	h := uint32(seed)
	for _, b := range word {
		h = (h ^ uint32(b)) * prime
	}
	return h
}

// scan counts the words of b that end in it and returns where the last one,
// which may go on, begins.
func (c *counter) scan(b []byte) int {
	i := 0
	for {
		for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t') {
			i++
		}
		start := i
		h := uint32(seed)
		for i < len(b) {
			x := b[i]
			if x == ' ' || x == '\n' || x == '\t' {
				break
			}
			h = (h ^ uint32(x)) * prime
			i++
		}
		if i == len(b) {
			return start
		}
		c.add(b[start:i], h)
	}
}

func (c *counter) add(word []byte, h uint32) {
	at := (h ^ h>>15) % slots
	for ; c.table[at] != 0; at = (at + 1) % slots {
		e := &c.words[c.table[at]-1]
		if e.hash == h && string(c.text[e.offset:e.offset+e.length]) == string(word) {
			if e.count == 1<<32-1 {
				break
			}
			e.count++
			return
		}
	}
	if len(c.words) == maxWords || len(c.text)+len(word) > maxText || c.table[at] != 0 {
		c.flush()
		at = (h ^ h>>15) % slots
	}
	c.words = append(c.words, entry{h, uint32(len(c.text)), uint32(len(word)), 1})
	c.text = append(c.text, word...)
	c.table[at] = uint32(len(c.words))
}

// flush prints the table and empties it.
func (c *counter) flush() {
	var number [20]byte
	for _, e := range c.words {
		c.out.Write(c.text[e.offset : e.offset+e.length])
		c.out.WriteByte('\t')
		c.out.Write(strconv.AppendUint(number[:0], uint64(e.count), 10))
		c.out.WriteByte('\n')
	}
	clear(c.table)
	c.words, c.text = c.words[:0], c.text[:0]
}
