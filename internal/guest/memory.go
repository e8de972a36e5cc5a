package guest

import (
	"errors"

	"github.com/tetratelabs/wazero/experimental"

	"github.com/meshnode/meshnode/protocol"
)

var errMemory = errors.New("out of memory")

// memoryLimit gives a module its linear memory and remembers what it refused:
// a guest that is refused memory ends in some way of its own (Go: exit status
// 2), and only this tells why.
type memoryLimit struct {
	limit   uint64
	peak    int64
	used    uint64 // of all memories
	refused bool   // beyond the limit
	short   error  // what the machine had not
}

// Allocate implements experimental.MemoryAllocator. It is called with the
// maximum that the module declares.
func (m *memoryLimit) Allocate(_, most uint64) experimental.LinearMemory {
	reserved, err := reserve(min(most, m.limit))
	if err != nil {
		m.short = err
	}
	return &linearMemory{limit: m, reserved: reserved}
}

// judge corrects what the end of a program looks like by what it was refused.
func (m *memoryLimit) judge(r taskResult) taskResult {
	r.Peak = m.peak
	switch {
	case m.short != nil:
		r = taskResult{Kind: protocol.FailHost, Text: "this machine could not give the program memory: " + m.short.Error(), Peak: m.peak, Retire: r.Retire}
	case m.refused:
		text := "the program needs more memory than its limit of " + bytesText(int64(m.limit))
		r = taskResult{Kind: protocol.FailMemory, Text: text + " (" + r.Text + ")", Peak: m.peak, Retire: r.Retire}
	}
	return r
}

// linearMemory grows in place, inside a range of addresses that it has
// reserved: nothing is copied, and what is not touched costs nothing.
type linearMemory struct {
	limit    *memoryLimit
	reserved []byte
	size     uint64
}

// Reallocate implements experimental.LinearMemory.
func (l *linearMemory) Reallocate(size uint64) []byte {
	if l.limit.used-l.size+size > l.limit.limit {
		return l.refuse(&l.limit.refused)
	}
	if size > uint64(len(l.reserved)) {
		return l.refuse(new(bool))
	}
	if size > l.size {
		if err := open(l.reserved[:size]); err != nil {
			l.limit.short = err
			return l.refuse(new(bool))
		}
	}
	l.limit.used += size - l.size
	l.limit.peak = max(l.limit.peak, int64(l.limit.used))
	l.size = size
	return l.reserved[:size:size]
}

// refuse notes the refusal. Growing may fail, but the memory that a module has
// from the start may not: the runtime has no other way out.
func (l *linearMemory) refuse(note *bool) []byte {
	*note = true
	if l.size == 0 {
		panic(errMemory)
	}
	return nil
}

// Free implements experimental.LinearMemory.
func (l *linearMemory) Free() {
	release(l.reserved)
	l.reserved = nil
}
