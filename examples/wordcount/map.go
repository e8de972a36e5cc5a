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
	"math/bits"
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

// entry is one word of the table.
type entry struct {
	first  uint64 // its first eight bytes, zeros behind it if it is shorter
	hash   uint32
	offset uint32 // of its bytes in text
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
		n, err := in.Read(buf[kept : len(buf)-slack])
		end := kept + n
		if err == io.EOF {
			buf[end] = '\n' // the end of the input ends a word
			c.scan(buf, end+1)
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buf, buf[c.scan(buf, end):end])
		if kept > len(buf)/2 {
			buf = append(buf, make([]byte, len(buf))...)
		}
	}
}

const (
	// wide is how many bytes are looked at together: a step of a loop is dear
	// in wasm.
	wide = 8
	// slack is the room behind what was read, so that looking at a whole
	// number of bytes never needs a check.
	slack = 3 * wide
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
	prime = 0x9e3779b97f4a7c15
)

// load reads eight bytes; the compiler makes one instruction of it.
func load(b []byte) uint64 {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// separators has a bit set for separators among the bytes of x; the lowest is
// that of the first one. (A borrow can only set bits above it.)
func separators(x uint64) uint64 {
	space, newline, tab := x^(' '*ones), x^('\n'*ones), x^('\t'*ones)
	return ((space-ones)&^space | (newline-ones)&^newline | (tab-ones)&^tab) & highs
}

// scan counts the words of b[:end] that end in it and returns where the last
// one, which may go on, begins.
func (c *counter) scan(b []byte, end int) int {
	for i := 0; ; {
		for i < end && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t') {
			i++
		}
		start := i
		x := load(b[i:])
		found := separators(x)
		first, h := x, uint64(0)
		for found == 0 && i < end {
			h = mix(h, x)
			i += wide
			x = load(b[i:])
			found = separators(x)
		}
		n := bits.TrailingZeros64(found) / 8
		i += n
		if i >= end {
			return start
		}
		x &= 1<<(8*n) - 1
		if i-start < wide {
			first = x
		}
		c.add(b[start:i], first, uint32(mix(h, x)>>32))
	}
}

func mix(h, x uint64) uint64 {
	h = (h ^ x) * prime
	return h ^ h>>29
}

func (c *counter) add(word []byte, first uint64, h uint32) {
	at := h % slots
	for ; c.table[at] != 0; at = (at + 1) % slots {
		e := &c.words[c.table[at]-1]
		if e.hash != h || e.first != first || e.length != uint32(len(word)) || e.count == 1<<32-1 {
			continue
		}
		if len(word) <= wide || string(c.text[e.offset:e.offset+e.length]) == string(word) {
			e.count++
			return
		}
	}
	if len(c.words) == maxWords || len(c.text)+len(word) > maxText {
		c.flush()
		at = h % slots
	}
	c.words = append(c.words, entry{first, h, uint32(len(c.text)), uint32(len(word)), 1})
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
