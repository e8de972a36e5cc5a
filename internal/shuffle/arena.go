package shuffle

const (
	firstChunk = 64 << 10 // small tasks stay small
	maxChunk   = 1 << 20
)

// arena keeps lines in large chunks, which the garbage collector need not look
// into and which never move.
type arena struct {
	chunks  [][]byte
	current int // the chunk that is being filled
}

// add copies line and returns where it stands; later lines stand at higher
// places.
func (a *arena) add(line []byte) (chunk, pos uint32) {
	for ; a.current < len(a.chunks); a.current++ {
		if c := a.chunks[a.current]; cap(c)-len(c) >= len(line) {
			a.chunks[a.current] = append(c, line...)
			return uint32(a.current), uint32(len(c)) // bounded by memory and MaxLine
		}
	}
	size := min(firstChunk<<min(len(a.chunks), 8), maxChunk)
	a.chunks = append(a.chunks, append(make([]byte, 0, max(size, len(line))), line...))
	return uint32(a.current), 0 // bounded by memory
}

func (a *arena) bytes(chunk, pos, size uint32) []byte {
	return a.chunks[chunk][pos : pos+size]
}

// reset forgets all lines and keeps the chunks, except those made for one line.
func (a *arena) reset() {
	kept := a.chunks[:0]
	for _, c := range a.chunks {
		if cap(c) <= maxChunk {
			kept = append(kept, c[:0])
		}
	}
	clear(a.chunks[len(kept):])
	a.chunks, a.current = kept, 0
}
