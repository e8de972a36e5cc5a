package exchange

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// flight is a fetch that several callers wait for.
type flight struct {
	done    chan struct{} // closed when err is set
	err     error
	waiters int // guarded by Exchange.mu
	cancel  context.CancelFunc
}

// share runs fetch, or waits for one that is under way under the same key. The
// fetch goes on as long as somebody waits for it. Where another caller's fetch
// fails, whose sources may be worse, this one's is run.
func (x *Exchange) share(ctx context.Context, key string, fetch func(context.Context) error) error {
	for {
		f, mine, err := x.join(ctx, key, fetch)
		if err != nil {
			return err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
		}
		x.part(key, f)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if mine && errors.Is(f.err, context.Canceled) {
			return ErrClosed // nobody else ends it while this caller waits
		}
		if f.err == nil || mine {
			return f.err
		}
	}
}

// join finds the flight under key or starts it.
func (x *Exchange) join(ctx context.Context, key string, fetch func(context.Context) error) (f *flight, mine bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil, false, ErrClosed
	}
	if f := x.flights[key]; f != nil {
		f.waiters++
		return f, false, nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f = &flight{done: make(chan struct{}), waiters: 1, cancel: cancel}
	x.flights[key] = f
	x.tasks.Add(1)
	go func() {
		defer x.tasks.Done()
		f.err = fetch(ctx)
		cancel()
		x.mu.Lock()
		if x.flights[key] == f {
			delete(x.flights, key)
		}
		x.mu.Unlock()
		close(f.done)
	}()
	return f, true, nil
}

// part ends a flight that nobody waits for any more.
func (x *Exchange) part(key string, f *flight) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		if x.flights[key] == f {
			delete(x.flights, key)
		}
	}
}

// Getter reads blocks from the store, and fetches those that are not there from
// the sources that it is told for each. What was fetched is kept.
func (x *Exchange) Getter(sources func(ctx context.Context, c protocol.CID) []peer.ID) storage.Getter {
	return &getter{x: x, sources: sources}
}

type getter struct {
	x       *Exchange
	sources func(ctx context.Context, c protocol.CID) []peer.ID
}

func (g *getter) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	data, err := g.x.store.Get(ctx, c)
	if !errors.Is(err, storage.ErrNotFound) || !c.Defined() {
		return data, err
	}
	err = g.x.share(ctx, "block "+string(c), func(ctx context.Context) error {
		return g.x.FetchBlocks(ctx, []protocol.CID{c}, g.sources(ctx, c))
	})
	if err != nil {
		return nil, err
	}
	return g.x.store.Get(ctx, c)
}
