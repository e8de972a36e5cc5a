package storage

import (
	"sync"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// recentFrom is the size from which a block is worth remembering: to read
	// and hash a chunk of 1 MiB again costs a millisecond or two, which each of
	// many small tasks that share it would pay.
	recentFrom = 64 << 10
	// recentFor is how long after its last use a block is remembered: one
	// block, so that an idle store holds none.
	recentFor = time.Second
)

// recent is the large block that was read and checked last.
type recent struct {
	mu     sync.Mutex
	name   protocol.CID
	data   []byte
	forget *time.Timer
}

func (r *recent) get(c protocol.CID) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.data == nil || r.name != c {
		return nil
	}
	r.forget.Reset(recentFor)
	return r.data
}

func (r *recent) put(c protocol.CID, data []byte) {
	if len(data) < recentFrom {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name, r.data = c, data
	if r.forget == nil {
		r.forget = time.AfterFunc(recentFor, r.clear)
	}
	r.forget.Reset(recentFor)
}

func (r *recent) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name, r.data = "", nil
}
