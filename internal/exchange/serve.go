package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// writeBuffer gathers headers and small blocks.
const writeBuffer = 64 << 10

// requestBuffer is what most requests fit in.
const requestBuffer = 512

// handle serves one stream until it is done or ctx ends.
func (x *Exchange) handle(ctx context.Context, s network.Stream) {
	from := s.Conn().RemotePeer()
	if !x.allow(from) {
		_ = s.Reset()
		return
	}
	c := x.enter(from)
	if c == nil {
		_ = s.SetWriteDeadline(time.Now().Add(x.idle))
		_ = writeHeader(s, header{Say: sayBusy})
		_ = s.Close()
		return
	}
	defer x.leave(from, c)
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	if err := x.answer(ctx, c, s); err != nil {
		_ = s.Reset()
		x.log.Debug("a block stream failed", "peer", from, "error", err)
		return
	}
	_ = s.Close()
}

// enter counts a stream of p in, or returns nil when there are too many or the
// exchange is closed.
func (x *Exchange) enter(p peer.ID) *client {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.peers[p]
	if x.closed || x.queued >= maxQueued+maxServed || c != nil && c.queued >= maxQueuedPeer+maxServedPeer {
		return nil
	}
	if c == nil {
		c = &client{turn: make(chan struct{}, maxServedPeer)}
		x.peers[p] = c
	}
	c.queued++
	x.queued++
	x.tasks.Add(1)
	return c
}

func (x *Exchange) leave(p peer.ID, c *client) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.queued--
	if c.queued--; c.queued == 0 {
		delete(x.peers, p)
	}
	x.tasks.Done()
}

// answer reads the request and serves it when its turn has come.
func (x *Exchange) answer(ctx context.Context, c *client, s network.Stream) error {
	if err := s.Scope().SetService(protocol.BlockProtocol); err != nil {
		return err
	}
	stream := &moving{Stream: s, idle: x.idle}
	req, err := readRequest(bufio.NewReaderSize(stream, requestBuffer))
	if err != nil {
		return err
	}
	end, ok := x.begin(ctx, c)
	if !ok {
		return writeHeader(stream, header{Say: sayBusy})
	}
	defer end()
	w := bufio.NewWriterSize(stream, writeBuffer)
	if req.Kind == askRange {
		err = x.serveRange(ctx, w, req)
	} else {
		err = x.serveBlocks(ctx, w, req)
	}
	if err != nil {
		return err
	}
	return w.Flush()
}

// begin waits for the stream's turn, among those of its peer and then among
// all. It is false when that took too long.
func (x *Exchange) begin(ctx context.Context, c *client) (end func(), ok bool) {
	ctx, cancel := context.WithTimeout(ctx, queueTimeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	select {
	case x.turn <- struct{}{}:
		return func() { <-x.turn; <-c.turn }, true
	case <-ctx.Done():
		<-c.turn
		return nil, false
	}
}

func readRequest(r *bufio.Reader) (request, error) {
	var req request
	b, err := protocol.ReadFrame(r, maxRequest)
	if err != nil {
		return req, fmt.Errorf("reading a request: %w", err)
	}
	if err := protocol.Decode(b, &req); err != nil {
		return req, err
	}
	return req, req.check()
}

// found is a block that was read, or one that is not here.
type found struct {
	cid  protocol.CID
	data []byte
	here bool
}

// aheadBlocks is how many blocks are read while one is being written. With it
// and maxServed, serving takes at most maxServed*(aheadBlocks+2) blocks of
// memory. That bound is ours: libp2p's default of 16 MiB for each peer and
// service would refuse what one worker needs.
const aheadBlocks = 2

// serveBlocks streams what was asked for. Reading and writing overlap. Small
// blocks wait in the buffer until it is full: the next is a read from the disk
// away, and a packet for each would cost more than that.
func (x *Exchange) serveBlocks(ctx context.Context, w *bufio.Writer, req request) error {
	ctx, cancel := context.WithCancel(ctx)
	blocks := make(chan found, aheadBlocks)
	failed := make(chan error, 1)
	go func() {
		defer close(blocks)
		failed <- x.readBlocks(ctx, req, blocks)
	}()
	defer func() { // the reader must not outlive the stream
		cancel()
		for range blocks {
		}
	}()
	for b := range blocks {
		if err := writeBlock(w, b); err != nil {
			return err
		}
	}
	if err := <-failed; err != nil {
		return writeHeader(w, header{Say: sayFailed, Text: bounded(err.Error(), maxTextSent)})
	}
	return writeHeader(w, header{Say: sayEnd})
}

func writeBlock(w io.Writer, b found) error {
	if !b.here {
		return writeHeader(w, header{Say: sayMissing, CID: b.cid})
	}
	if err := writeHeader(w, header{Say: sayBlock, CID: b.cid, Size: int64(len(b.data))}); err != nil {
		return err
	}
	_, err := w.Write(b.data)
	return err
}

// readBlocks reads the blocks of a request in the order in which they are sent.
func (x *Exchange) readBlocks(ctx context.Context, req request, out chan<- found) error {
	todo := make([]protocol.CID, 0, len(req.CIDs))
	seen := map[protocol.CID]bool{}
	push := func(cids []protocol.CID) {
		for i := len(cids) - 1; i >= 0; i-- {
			if c := cids[i]; !seen[c] {
				seen[c] = true
				todo = append(todo, c)
			}
		}
	}
	push(req.CIDs)
	for len(todo) > 0 {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		data, err := x.store.Get(ctx, c)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		here := err == nil
		if here && req.Kind == askDAG {
			links, err := storage.Links(c, data)
			if err != nil {
				return err
			}
			push(links)
		}
		select {
		case out <- found{cid: c, data: data, here: here}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// serveRange streams bytes of a file.
func (x *Exchange) serveRange(ctx context.Context, w io.Writer, req request) error {
	f, err := storage.NewFile(ctx, x.store, req.CIDs[0])
	if errors.Is(err, storage.ErrNotFound) {
		return writeHeader(w, header{Say: sayMissing, CID: req.CIDs[0]})
	}
	if err == nil && (req.Offset > f.Size() || req.Length > f.Size()-req.Offset) {
		err = fmt.Errorf("the range %d+%d of a file of %d bytes", req.Offset, req.Length, f.Size())
	}
	if err != nil {
		return writeHeader(w, header{Say: sayFailed, Text: bounded(err.Error(), maxTextSent)})
	}
	if err := writeHeader(w, header{Say: sayRange, Size: req.Length}); err != nil {
		return err
	}
	return copyRange(w, f, req.Offset, req.Length)
}

func copyRange(w io.Writer, f *storage.File, offset, length int64) error {
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	f.ReadAheadUntil(offset + length)
	_, err := io.CopyN(w, f, length)
	return err
}

func bounded(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "..."
}
