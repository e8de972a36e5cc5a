package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/protocol"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func raw(data []byte) protocol.CID { return protocol.NewCID(protocol.CodecRaw, data) }

func blockFile(t testing.TB, dir string, c protocol.CID) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "blocks", "*", blockKey(c).String()[1:]+".data"))
	ok(t, err)
	if len(found) != 1 {
		t.Fatalf("block %s is in %d files", c, len(found))
	}
	return found[0]
}

func TestBlocks(t *testing.T) {
	s := open(t, t.TempDir())
	data := noise(1, 1000)
	c := raw(data)
	_, err := s.Get(t.Context(), c)
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	for range 2 {
		ok(t, s.Put(t.Context(), c, data))
	}
	got, err := s.Get(t.Context(), c)
	ok(t, err)
	if !bytes.Equal(got, data) {
		t.Fatal("other bytes")
	}
	here, err := s.Has(t.Context(), c)
	ok(t, err)
	equal(t, "has", here, true)
	if err := s.Put(t.Context(), raw([]byte("x")), data); !errors.Is(err, ErrMismatch) {
		t.Fatalf("got %v", err)
	}
	large := make([]byte, protocol.MaxBlock+1)
	if err := s.Put(t.Context(), raw(large), large); !errors.Is(err, protocol.ErrTooLarge) {
		t.Fatalf("got %v", err)
	}
	blocks, size := s.Stats()
	equal(t, "blocks", blocks, 1)
	equal(t, "bytes", size, 1000)
	ok(t, s.Delete(t.Context(), c))
	ok(t, s.Delete(t.Context(), c))
	blocks, size = s.Stats()
	equal(t, "blocks", blocks, 0)
	equal(t, "bytes", size, 0)
}

func TestOneBlockUnderTwoCodecsIsTwo(t *testing.T) {
	s := open(t, t.TempDir())
	doc := protocol.Encode([]int{1})
	ok(t, s.Put(t.Context(), raw(doc), doc))
	here, err := s.Has(t.Context(), protocol.NewCID(protocol.CodecDagCBOR, doc))
	ok(t, err)
	equal(t, "has the document", here, false)
}

func TestDamagedBlockIsRemovedAndReported(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	leaf := noise(1, 2*smallBlock)
	doc := protocol.Encode([]protocol.CID{raw(leaf)})
	root := protocol.NewCID(protocol.CodecDagCBOR, doc)
	ok(t, s.Put(t.Context(), raw(leaf), leaf))
	ok(t, s.Put(t.Context(), root, doc))
	whole, err := s.Complete(t.Context(), root)
	ok(t, err)
	equal(t, "complete", whole, true)

	leaf[3] ^= 1
	ok(t, os.WriteFile(blockFile(t, dir, raw(noise(1, 2*smallBlock))), leaf, 0o600))
	leaf[3] ^= 1
	_, err = s.Get(t.Context(), raw(leaf))
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("got %v", err)
	}
	whole, err = s.Complete(t.Context(), root)
	ok(t, err)
	equal(t, "complete without its leaf", whole, false)
	ok(t, s.Put(t.Context(), raw(leaf), leaf))
	blocks, size := s.Stats()
	equal(t, "blocks", blocks, 2)
	equal(t, "bytes", size, int64(len(leaf)+len(doc)))
}

func TestBlockEmptiedByAPowerCutIsMissing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := noise(1, 2*smallBlock)
	ok(t, s.Put(t.Context(), raw(data), data))
	ok(t, os.Truncate(blockFile(t, dir, raw(data)), 0))
	here, err := s.Has(t.Context(), raw(data))
	ok(t, err)
	equal(t, "has", here, false)
	ok(t, s.Put(t.Context(), raw(data), data))
	_, err = s.Get(t.Context(), raw(data))
	ok(t, err)
	ok(t, s.Put(t.Context(), raw(nil), nil))
	here, err = s.Has(t.Context(), raw(nil))
	ok(t, err)
	equal(t, "has the empty block", here, true)
}

func TestComplete(t *testing.T) {
	s := open(t, t.TempDir())
	data := noise(1, 3*ChunkSize)
	root, _, err := Write(t.Context(), s, bytes.NewReader(data))
	ok(t, err)
	leaf := raw(data[ChunkSize : 2*ChunkSize])
	ok(t, s.Delete(t.Context(), leaf))
	missing, err := s.Missing(t.Context(), root, 10)
	ok(t, err)
	equal(t, "missing", fmt.Sprint(missing), fmt.Sprint([]protocol.CID{leaf}))
	whole, err := s.Complete(t.Context(), root)
	ok(t, err)
	equal(t, "complete", whole, false)
	ok(t, s.Put(t.Context(), leaf, data[ChunkSize:2*ChunkSize]))
	whole, err = s.Complete(t.Context(), root)
	ok(t, err)
	equal(t, "complete", whole, true)
	absent, err := s.Missing(t.Context(), raw([]byte("absent")), 10)
	ok(t, err)
	equal(t, "missing of a missing root", len(absent), 1)
}

func TestMeta(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, key := range []string{"a/2", "a/1", "b", "a//3", "a\xff", "a/"} {
		ok(t, s.PutMeta(key, []byte("value of "+key)))
	}
	ok(t, s.PutMeta("b", []byte{}))
	ok(t, s.DeleteMeta("a/2"))
	_, err := s.GetMeta("a/2")
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	ok(t, s.SyncMeta())
	list := func() string {
		var keys []string
		ok(t, s.ListMeta("a/", func(key string, value []byte) error {
			equal(t, key, string(value), "value of "+key)
			keys = append(keys, key)
			return s.PutMeta("seen", nil) // a use within a use
		}))
		return strings.Join(keys, " ")
	}
	equal(t, "keys", list(), "a/ a//3 a/1")
	ok(t, s.Close())
	ok(t, s.Close())
	if _, err := s.GetMeta("b"); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
	s = open(t, dir)
	equal(t, "keys", list(), "a/ a//3 a/1")
	value, err := s.GetMeta("b")
	ok(t, err)
	equal(t, "length", len(value), 0)
	if err := s.PutMeta("large", make([]byte, maxValue+1)); err == nil {
		t.Fatal("took a value beyond the bound")
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, err := Open(dir); !errors.Is(err, ErrInUse) {
		t.Fatalf("got %v", err)
	}
	ok(t, s.Close())
	open(t, dir)
}

func TestConcurrentPutsCountOnce(t *testing.T) {
	s := open(t, t.TempDir())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 50 {
				data := noise(uint64(i+1), 100)
				if err := s.Put(context.Background(), raw(data), data); err != nil {
					t.Error(err)
				}
				if _, err := s.Get(context.Background(), raw(data)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	blocks, size := s.Stats()
	equal(t, "blocks", blocks, 50)
	equal(t, "bytes", size, 5000)
}

// TestKill runs itself in a child that writes and is killed at once.
func TestKill(t *testing.T) {
	if dir := os.Getenv("STORAGE_TEST_KILL"); dir != "" {
		s, err := Open(dir)
		ok(t, err)
		data := noise(1, 1000)
		ok(t, s.Put(t.Context(), raw(data), data))
		ok(t, s.PutMeta("key", []byte("value")))
		self, err := os.FindProcess(os.Getpid())
		ok(t, err)
		ok(t, self.Kill())
		select {}
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run", "^TestKill$")
	child.Env = append(os.Environ(), "STORAGE_TEST_KILL="+dir)
	if out, err := child.CombinedOutput(); err == nil {
		t.Fatalf("the child was not killed: %s", out)
	}
	s := open(t, dir)
	value, err := s.GetMeta("key")
	ok(t, err)
	equal(t, "value", string(value), "value")
	_, err = s.Get(t.Context(), raw(noise(1, 1000)))
	ok(t, err)
	blocks, size := s.Stats()
	equal(t, "blocks", blocks, 1)
	equal(t, "bytes", size, 1000)
}

func TestCloseLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	for range 2 {
		s, err := Open(dir)
		ok(t, err)
		ok(t, s.Put(t.Context(), raw([]byte("x")), []byte("x")))
		f, err := s.Spool()
		ok(t, err)
		ok(t, f.Close())
		ok(t, s.Close())
	}
	found, err := filepath.Glob(filepath.Join(dir, "spool-*"))
	ok(t, err)
	equal(t, "spool files", len(found), 0)
}

// TestSmallBlocksAreCountedAgain holds that a store that was not closed finds
// its small blocks, and that they can be removed.
func TestSmallBlocksAreCountedAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	small, large := noise(1, 100), noise(2, 2*smallBlock)
	ok(t, s.Put(t.Context(), raw(small), small))
	ok(t, s.Put(t.Context(), raw(large), large))
	s.blocks.Store(0)
	s.bytes.Store(0)
	ok(t, s.count())
	blocks, size := s.Stats()
	equal(t, "blocks", blocks, 2)
	equal(t, "bytes", size, int64(len(small)+len(large)))
	ok(t, s.Delete(t.Context(), raw(small)))
	_, err := s.Get(t.Context(), raw(small))
	if !errors.Is(err, ErrNotFound) {
		t.Fatalf("got %v", err)
	}
	data, err := s.Get(t.Context(), raw(large))
	ok(t, err)
	equal(t, "the large one", bytes.Equal(data, large), true)
}
