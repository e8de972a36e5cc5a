package task

import (
	"fmt"
	"sync"
)

// ends keeps the two ends of a log, half of the limit each: where a program
// began and where it ended is what a reader of a long log needs. It may be
// written from any goroutine.
type ends struct {
	mu         sync.Mutex
	half       int
	head, tail []byte
	gone       int64 // bytes between them
}

// defaultLog is what a limit of 0 means.
const defaultLog = 1 << 20

func newEnds(limit int64) *ends {
	if limit <= 0 {
		limit = defaultLog
	}
	return &ends{half: int(min(limit, 1<<30)+1) / 2}
}

// Write implements io.Writer and never fails.
func (e *ends) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := len(p)
	room := min(e.half-len(e.head), len(p))
	e.head = append(e.head, p[:room]...)
	p = p[room:]
	if over := len(p) - e.half; over > 0 {
		e.gone += int64(over)
		p = p[over:]
	}
	e.tail = append(e.tail, p...)
	if len(e.tail) > 2*e.half { // seldom, so that the copying is paid for
		e.trim()
	}
	return n, nil
}

func (e *ends) trim() {
	if over := len(e.tail) - e.half; over > 0 {
		e.gone += int64(over)
		e.tail = append(e.tail[:0], e.tail[over:]...)
	}
}

// Bytes is what was kept, with a line between the ends that says how much is
// left out.
func (e *ends) Bytes() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trim()
	out := append([]byte(nil), e.head...)
	if e.gone > 0 {
		out = fmt.Appendf(out, "\n... %d bytes left out ...\n", e.gone)
	}
	return append(out, e.tail...)
}
