package storage

import (
	"sync"
	"time"
)

const (
	// flushAfter is how long a write may wait until it is brought to the disk
	// itself: what a node holds may be lost with the power for so long.
	flushAfter = time.Second
	// flushShare bounds the part of the time that is spent so: after a flush
	// that took t, none begins for flushShare times t. On a slow disk
	// the work comes first.
	flushShare = 9
)

// flusher calls a function some time after it was touched, never twice at once.
type flusher struct {
	flush func()

	mu      sync.Mutex
	timer   *time.Timer // armed while there is something to flush
	running sync.WaitGroup
	next    time.Time // no flush before
	stopped bool
}

func newFlusher(flush func()) *flusher { return &flusher{flush: flush} }

// touch says that there is something to flush.
func (f *flusher) touch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil || f.stopped {
		return
	}
	f.running.Add(1)
	f.timer = time.AfterFunc(max(flushAfter, time.Until(f.next)), f.fire)
}

func (f *flusher) fire() {
	defer f.running.Done()
	f.mu.Lock()
	f.timer = nil // what is written from here on needs another flush
	start := time.Now()
	f.next = start.Add(time.Hour) // none while this one runs
	f.mu.Unlock()

	f.flush()

	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = time.Now().Add(flushShare * time.Since(start))
	if f.timer != nil && f.timer.Stop() {
		f.timer.Reset(max(flushAfter, time.Until(f.next)))
	}
}

// stop flushes at once what still waits, and returns when nothing runs.
func (f *flusher) stop() {
	f.mu.Lock()
	f.stopped = true
	pending := f.timer != nil && f.timer.Stop()
	f.mu.Unlock()
	if pending {
		f.running.Done()
	}
	f.running.Wait()
	if pending {
		f.flush()
	}
}
