package exchange

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/errgroup"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// openTimeout bounds how long a stream may take to open, a dial included.
const openTimeout = 10 * time.Second

// readBuffer gathers headers and small blocks.
const readBuffer = 64 << 10

// maxStoring is how many blocks of one download may be on their way to the disk.
const maxStoring = 4

// ask sends req to source and hands the answer's stream to receive. The stream
// ends with ctx, and when the source is known to be gone.
func (x *Exchange) ask(ctx context.Context, source peer.ID, req request, receive func(r *bufio.Reader) error) error {
	ctx, end := x.while(ctx, source)
	defer end()
	opening, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s, err := x.host.NewStream(opening, source, protocol.BlockProtocol)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	defer stop()
	if err := x.exchange(s, req, receive); err != nil {
		_ = s.Reset()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	_ = s.Close()
	return nil
}

func (x *Exchange) exchange(s network.Stream, req request, receive func(r *bufio.Reader) error) error {
	if err := s.Scope().SetService(protocol.BlockProtocol); err != nil {
		return err
	}
	stream := &moving{Stream: s, idle: x.idle}
	if err := protocol.WriteFrame(stream, protocol.Encode(req)); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("sending the request: %w", err)
	}
	return receive(bufio.NewReaderSize(stream, readBuffer))
}

// download asks one source for blocks and stores those that come; got is how
// many. An error that is not the source's fault is a *localError.
func (x *Exchange) download(ctx context.Context, source peer.ID, req request) (got int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	storing, storeCtx := errgroup.WithContext(ctx)
	storing.SetLimit(min(maxStoring, runtime.GOMAXPROCS(0)))
	d := download{x: x, deep: req.Kind == askDAG, wanted: map[protocol.CID]bool{}, storing: storing}
	d.want(req.CIDs)
	// The stream ends with storeCtx, so the first block that cannot be
	// stored ends the transfer.
	err = x.ask(storeCtx, source, req, func(r *bufio.Reader) error { return d.receive(storeCtx, r) })
	if serr := storing.Wait(); serr != nil {
		err = serr
	}
	return d.got, err
}

// download is the receiving end of a stream of blocks.
type download struct {
	x    *Exchange
	deep bool
	// wanted holds the blocks that may come, true until they have: those that
	// were asked for and those that are linked from what has come.
	wanted  map[protocol.CID]bool
	pending int // how many of them are true
	got     int
	storing *errgroup.Group
}

func (d *download) want(cids []protocol.CID) {
	for _, c := range cids {
		if _, known := d.wanted[c]; !known {
			d.wanted[c] = true
			d.pending++
		}
	}
}

func (d *download) receive(ctx context.Context, r *bufio.Reader) error {
	for {
		h, err := readHeader(r)
		if err != nil {
			return err
		}
		switch h.Say {
		case sayEnd:
			return nil
		case sayBusy:
			return errBusy
		case sayFailed:
			return fmt.Errorf("it says: %q", bounded(h.Text, maxAnswerBytes))
		case sayBlock, sayMissing:
		default:
			return fmt.Errorf("it sent a header of kind %d", h.Say)
		}
		if !d.wanted[h.CID] {
			return fmt.Errorf("it sent block %s, which nothing links to, or which it had sent", h.CID)
		}
		d.wanted[h.CID] = false
		d.pending--
		if h.Say == sayMissing {
			continue
		}
		if err := d.block(ctx, r, h); err != nil {
			return err
		}
	}
}

// block reads a block and stores it: at once if its links are needed, else
// beside the reading of the next.
func (d *download) block(ctx context.Context, r io.Reader, h header) error {
	if h.Size < 0 || h.Size > protocol.MaxBlock {
		return fmt.Errorf("it sent a block of %d bytes", h.Size)
	}
	buf := d.x.buffers.Get().(*[]byte)
	*buf = slices.Grow((*buf)[:0], int(h.Size))[:h.Size]
	if _, err := io.ReadFull(r, *buf); err != nil {
		d.x.buffers.Put(buf)
		return fmt.Errorf("reading block %s: %w", h.CID, err)
	}
	d.got++
	if !d.deep || h.CID.Codec() == protocol.CodecRaw {
		d.storing.Go(func() error {
			defer d.x.buffers.Put(buf)
			return d.store(ctx, h.CID, *buf)
		})
		return nil
	}
	defer d.x.buffers.Put(buf)
	if err := d.store(ctx, h.CID, *buf); err != nil {
		return err
	}
	links, err := storage.Links(h.CID, *buf)
	if err != nil {
		return &localError{err} // the block is what was asked for: no source has a better one
	}
	if d.want(links); d.pending > maxPending {
		return &localError{fmt.Errorf("block %s: more than %d blocks would have to come", h.CID, maxPending)}
	}
	return nil
}

// store checks the block against its name and keeps it.
func (d *download) store(ctx context.Context, c protocol.CID, data []byte) error {
	err := d.x.store.Put(ctx, c, data)
	if err == nil || errors.Is(err, storage.ErrMismatch) || ctx.Err() != nil {
		return err
	}
	return &localError{err}
}
