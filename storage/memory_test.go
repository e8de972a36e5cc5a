package storage

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/meshnode/meshnode/protocol"
)

// memory is a Getter and Putter that remembers what was asked of it.
type memory struct {
	mu     sync.Mutex
	blocks map[protocol.CID][]byte
	gets   []protocol.CID
}

func newMemory() *memory { return &memory{blocks: map[protocol.CID][]byte{}} }

func (m *memory) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets = append(m.gets, c)
	if b, ok := m.blocks[c]; ok {
		return b, ctx.Err()
	}
	return nil, fmt.Errorf("block %s: %w", c, ErrNotFound)
}

func (m *memory) Put(ctx context.Context, c protocol.CID, data []byte) error {
	if !c.Verify(data) {
		return ErrMismatch
	}
	if len(data) > protocol.MaxBlock {
		return protocol.ErrTooLarge
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.blocks[c] = bytes.Clone(data)
	return ctx.Err()
}

// add stores data as a file.
func (m *memory) add(t testing.TB, data []byte) protocol.CID {
	t.Helper()
	c, size, err := Write(t.Context(), m, bytes.NewReader(data))
	ok(t, err)
	if size != int64(len(data)) {
		t.Fatalf("wrote %d bytes, want %d", size, len(data))
	}
	return c
}

// node stores a node as it is.
func (m *memory) node(t testing.TB, n *fsNode) protocol.CID {
	t.Helper()
	l, err := putNode(t.Context(), m, n)
	ok(t, err)
	return l.cid
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func parse(t testing.TB, text string) protocol.CID {
	t.Helper()
	c, err := protocol.ParseCID(text)
	ok(t, err)
	return c
}

// noise is n bytes that no compressor would shorten, the same for each seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	x := seed*2862933555777941757 + 3037000493
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}
