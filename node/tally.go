package node

import "sync"

// tally counts by name. The names are constants of the program, never a
// peer's words, so it stays small. Its zero value is ready; its methods may be
// called from any goroutine.
type tally struct {
	mu     sync.Mutex
	counts map[string]int64
}

// add counts one more of a name; the empty name counts nothing.
func (t *tally) add(name string) {
	if name == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[string]int64{}
	}
	t.counts[name]++
}

// all is a copy of the counts, and never nil.
func (t *tally) all() map[string]int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]int64, len(t.counts))
	for name, n := range t.counts {
		out[name] = n
	}
	return out
}
