package guest

import "fmt"

// headTail keeps the two ends of what is written to it: where a program began
// and where it ended is what a reader of a long log needs.
type headTail struct {
	limit int // of both ends together
	head  []byte
	tail  []byte // a ring once it is full
	next  int    // where the ring goes on
	total int64
}

func newHeadTail(limit int64) *headTail {
	return &headTail{limit: int(min(limit, 1<<30))}
}

func (l *headTail) Write(p []byte) (int, error) {
	n := len(p)
	l.total += int64(n)
	if room := (l.limit+1)/2 - len(l.head); room > 0 {
		take := min(room, len(p))
		l.head = append(l.head, p[:take]...)
		p = p[take:]
	}
	size := l.limit / 2
	if len(p) > size {
		p = p[len(p)-size:]
	}
	if room := size - len(l.tail); room > 0 {
		take := min(room, len(p))
		l.tail = append(l.tail, p[:take]...)
		p = p[take:]
	}
	for len(p) > 0 {
		copied := copy(l.tail[l.next:], p)
		p = p[copied:]
		l.next = (l.next + copied) % size
	}
	return n, nil
}

// Bytes returns what was kept.
func (l *headTail) Bytes() []byte {
	out := append([]byte(nil), l.head...)
	if gone := l.total - int64(len(l.head)+len(l.tail)); gone > 0 {
		out = fmt.Appendf(out, "\n... %d bytes left out ...\n", gone)
	}
	out = append(out, l.tail[l.next:]...)
	return append(out, l.tail[:l.next]...)
}
