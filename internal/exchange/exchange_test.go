package exchange

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// mib is the size of a leaf.
const mib = storage.ChunkSize

func TestFetchDAG(t *testing.T) {
	a, b := newNode(t), newNode(t)
	data := noise(1, 5*mib+17)
	root := a.add(t, data)
	ok(t, b.x.FetchDAG(timely(t), root, b.knows(a)))
	if !bytes.Equal(b.read(t, root), data) {
		t.Fatal("other bytes")
	}
	whole, err := b.store.Complete(t.Context(), root)
	ok(t, err)
	if !whole {
		t.Fatal("not complete")
	}
	// It is here now, so nobody is asked.
	ok(t, b.x.FetchDAG(timely(t), root, nil))
}

func TestFetchDAGJoinsWhatSourcesHave(t *testing.T) {
	a, b, c := newNode(t), newNode(t), newNode(t)
	data := noise(2, 4*mib)
	root := a.add(t, data)
	b.add(t, data)
	for i := range 4 {
		leaf := protocol.NewCID(protocol.CodecRaw, data[i*mib:(i+1)*mib])
		lacking := a
		if i%2 == 0 {
			lacking = b
		}
		ok(t, lacking.store.Delete(t.Context(), leaf))
	}
	ok(t, c.x.FetchDAG(timely(t), root, c.knows(a, b)))
	if !bytes.Equal(c.read(t, root), data) {
		t.Fatal("other bytes")
	}
}

func TestFetchDAGOfAFolder(t *testing.T) {
	a, b := newNode(t), newNode(t)
	var leaves []protocol.CID
	for i := range 3000 { // more than one request could name
		leaf := fmt.Appendf(nil, "leaf %d", i)
		c := protocol.NewCID(protocol.CodecRaw, leaf)
		ok(t, a.store.Put(t.Context(), c, leaf))
		leaves = append(leaves, c)
	}
	root, _, err := storage.PutDoc(t.Context(), a.store, leaves)
	ok(t, err)
	ok(t, b.x.FetchDAG(timely(t), root, b.knows(a)))
	blocks, _ := b.store.Stats()
	if blocks != 3001 {
		t.Fatalf("%d blocks came", blocks)
	}
	c := newNode(t)
	ok(t, c.x.FetchBlocks(timely(t), leaves, c.knows(b)))
	if blocks, _ := c.store.Stats(); blocks != 3000 {
		t.Fatalf("%d blocks came", blocks)
	}
}

func TestNobodyHasIt(t *testing.T) {
	a, b := newNode(t), newNode(t)
	c := protocol.NewCID(protocol.CodecRaw, []byte("nowhere"))
	for _, sources := range [][]peer.ID{nil, b.knows(a), {b.ID()}} {
		err := b.x.FetchDAG(timely(t), c, sources)
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("got %v", err)
		}
		if len(sources) > 0 && sources[0] == a.ID() && !strings.Contains(err.Error(), a.ID().String()) {
			t.Fatalf("the error does not name who was asked: %v", err)
		}
	}
}

func TestFetchRange(t *testing.T) {
	a, b := newNode(t), newNode(t)
	data := noise(3, 3*mib)
	file := a.add(t, data)
	sources := b.knows(a)
	for _, r := range [][2]int{{0, 10}, {mib - 5, 10}, {100, 2*mib + 5}, {0, 3 * mib}, {3 * mib, 0}, {7, 0}} {
		want := data[r[0] : r[0]+r[1]]
		for _, n := range []*node{a, b} {
			var out bytes.Buffer
			ok(t, n.x.FetchRange(timely(t), file, int64(r[0]), int64(r[1]), sha256.Sum256(want), sources, &out))
			if !bytes.Equal(out.Bytes(), want) {
				t.Fatalf("range %v: other bytes", r)
			}
		}
	}
	var out bytes.Buffer
	ok(t, b.x.FetchRange(timely(t), "", 0, 0, sha256.Sum256(nil), nil, &out))
	err := b.x.FetchRange(timely(t), file, 0, 10, protocol.Digest{}, sources, &out)
	if !errors.Is(err, ErrUnavailable) || out.Len() > 0 {
		t.Fatalf("got %v and %d bytes", err, out.Len())
	}
	if err := a.x.FetchRange(timely(t), file, 0, 10, protocol.Digest{}, sources, &out); err == nil || out.Len() > 0 {
		t.Fatal("took local bytes of another hash")
	}
	if err := b.x.FetchRange(timely(t), file, 2*mib, 2*mib, protocol.Digest{}, sources, &out); err == nil {
		t.Fatal("read past the end")
	}
}

func TestGetterFetchesOnce(t *testing.T) {
	a, b := newNode(t), newNode(t)
	data := noise(4, 2*mib)
	root := a.add(t, data)
	sources := b.knows(a)
	var asked atomic.Int64
	g := b.x.Getter(func(context.Context, protocol.CID) []peer.ID {
		asked.Add(1)
		return sources
	})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			f, err := storage.NewFile(t.Context(), g, root)
			if err != nil {
				t.Error(err)
				return
			}
			var out bytes.Buffer
			if _, err := f.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
				t.Errorf("read %d bytes: %v", out.Len(), err)
			}
		})
	}
	group.Wait()
	if n := asked.Load(); n > 2*3 { // a flight may end between a look and the next
		t.Fatalf("asked %d times for three blocks", n)
	}
	if _, err := g.Get(t.Context(), ""); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestSharedFetchOutlivesItsFirstCaller(t *testing.T) {
	n := newNode(t)
	release := make(chan struct{})
	first, cancel := context.WithCancel(t.Context())
	started, results := make(chan struct{}), make(chan error, 2)
	go func() {
		results <- n.x.share(first, "k", func(ctx context.Context) error {
			close(started)
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	<-started
	f, mine, err := n.x.join(t.Context(), "k", nil)
	ok(t, err)
	if mine {
		t.Fatal("started another flight")
	}
	cancel()
	if err := <-results; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	close(release)
	<-f.done
	ok(t, f.err)
	n.x.part("k", f)
}

func TestAllowIsAsked(t *testing.T) {
	a, b := newNode(t), newNode(t)
	a.x.allow = func(p peer.ID) bool { return p != b.ID() }
	root := a.add(t, []byte("secret"))
	if err := b.x.FetchDAG(timely(t), root, b.knows(a)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
}
