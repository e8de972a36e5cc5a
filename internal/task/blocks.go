package task

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// tracker remembers the first block that nobody gave, and lets a task wait for
// the reads that it began: files are read ahead.
type tracker struct {
	storage.Getter

	mu    sync.Mutex
	lost  protocol.CID
	ended bool
	busy  sync.WaitGroup
}

var errEnded = errors.New("reading for a task that has ended")

func (t *tracker) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	t.mu.Lock()
	if t.ended {
		t.mu.Unlock()
		return nil, errEnded
	}
	t.busy.Add(1)
	t.mu.Unlock()
	defer t.busy.Done()
	data, err := t.Getter.Get(ctx, c)
	if err != nil && ctx.Err() == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.lost.Defined() {
			t.lost = c
		}
	}
	return data, err
}

// end waits for the reads that go on; there will be no others.
func (t *tracker) end() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.busy.Wait()
}

// failure is err of reading what root names: the block that nobody gave, or
// else root itself, which is malformed.
func (t *tracker) failure(root protocol.CID, err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost.Defined() {
		return lost(t.lost, err)
	}
	return lost(root, err)
}

// keeper remembers the last small block, which may be the whole result.
type keeper struct {
	storage.Putter

	mu   sync.Mutex
	name protocol.CID
	data []byte
}

func (k *keeper) Put(ctx context.Context, c protocol.CID, data []byte) error {
	if len(data) <= protocol.MaxInline {
		k.mu.Lock()
		k.name, k.data = c, append([]byte{}, data...)
		k.mu.Unlock()
	}
	return k.Putter.Put(ctx, c, data)
}

// block is the content of result if it is one small block without links.
func (k *keeper) block(result protocol.CID) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.name != result {
		return nil
	}
	switch result.Codec() {
	case protocol.CodecRaw:
		return k.data
	case protocol.CodecDagCBOR:
		var doc protocol.Shuffle
		if err := protocol.Decode(k.data, &doc); err == nil && !doc.File.Defined() {
			return k.data
		}
	}
	return nil
}

// faultReader remembers why reading ended, since the program that reads may
// tell another story, or none.
type faultReader struct {
	r   io.Reader
	err error // other than io.EOF
}

func (f *faultReader) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF { // readers end with io.EOF itself
		f.err = err
	}
	return n, err
}

// faultWriter remembers why writing ended, likewise.
type faultWriter struct {
	w   io.Writer
	err error
}

func (f *faultWriter) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.w.Write(p)
	f.err = err
	return n, err
}

// inputReader turns the errors of reading a task's input into failures.
type inputReader struct {
	r       io.Reader
	failure func(error) error
}

func (i inputReader) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && err != io.EOF { // readers end with io.EOF itself
		err = i.failure(err)
	}
	return n, err
}
