package exchange

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// maxSpool is how much of a range is kept in memory; more goes to a file.
const maxSpool = 1 << 20

var errSum = errors.New("the bytes do not have the hash that they should have")

// FetchRange writes length bytes of a file, from offset on, to w: from the
// store if they are there, else from the first source that has them. Their
// SHA-256 must be sum, and nothing is written before it was checked. What is
// fetched is not kept. It fails with ErrUnavailable.
func (x *Exchange) FetchRange(ctx context.Context, file protocol.CID, offset, length int64, sum protocol.Digest, sources []peer.ID, w io.Writer) error {
	err := x.fetchRange(ctx, request{Kind: askRange, CIDs: []protocol.CID{file}, Offset: offset, Length: length}, sum, sources, w)
	if err != nil {
		return fmt.Errorf("fetching bytes %d+%d of %s: %w", offset, length, file, err)
	}
	return nil
}

func (x *Exchange) fetchRange(ctx context.Context, req request, sum protocol.Digest, sources []peer.ID, w io.Writer) error {
	// No bytes need no file: a shuffle without content names none.
	if err := req.check(); err != nil && req.Length != 0 {
		return err
	}
	sp := &spool{store: x.store}
	defer sp.close()
	switch err := x.localRange(ctx, req, sp); {
	case err == nil:
		return sp.give(w, sum) // these bytes are the file's: no source has others
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return rounds(ctx, func(said *answers) (done bool, err error) {
		said.about = req.CIDs[0]
		for _, source := range x.others(sources) {
			sp.reset()
			err := x.ask(ctx, source, req, func(r *bufio.Reader) error { return receiveRange(r, req, sp) })
			if err == nil {
				if err = sp.give(w, sum); err == nil {
					return true, nil
				}
			}
			if err := said.add(ctx, source, err); err != nil {
				return false, err
			}
		}
		return false, nil
	})
}

func (x *Exchange) localRange(ctx context.Context, req request, sp *spool) error {
	if req.Length == 0 {
		return nil
	}
	f, err := storage.NewFile(ctx, x.store, req.CIDs[0])
	if err != nil {
		return err
	}
	if req.Offset > f.Size() || req.Length > f.Size()-req.Offset {
		return fmt.Errorf("the file has %d bytes", f.Size())
	}
	return copyRange(sp, f, req.Offset, req.Length)
}

func receiveRange(r *bufio.Reader, req request, sp *spool) error {
	h, err := readHeader(r)
	if err != nil {
		return err
	}
	switch {
	case h.Say == sayMissing:
		return errLacking
	case h.Say == sayBusy:
		return errBusy
	case h.Say == sayFailed:
		return fmt.Errorf("it says: %q", bounded(h.Text, maxAnswerBytes))
	case h.Say != sayRange || h.Size != req.Length:
		return fmt.Errorf("it sent a header of kind %d for %d bytes", h.Say, h.Size)
	}
	_, err = io.CopyN(sp, r, req.Length)
	return err
}

// spool keeps bytes until their hash is known: in memory as long as they are
// few.
type spool struct {
	store *storage.Store
	mem   bytes.Buffer
	file  *os.File // holds what follows mem; nil while there is nothing
}

func (s *spool) reset() {
	s.mem.Reset()
	s.close()
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		s.file = nil
	}
}

// Write implements io.Writer. It fails with a *localError.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && s.mem.Len()+len(p) <= maxSpool {
		return s.mem.Write(p)
	}
	if s.file == nil {
		f, err := s.store.Spool()
		if err != nil {
			return 0, &localError{err}
		}
		s.file = f
	}
	n, err := s.file.Write(p)
	if err != nil {
		return n, &localError{storage.DiskError(err)}
	}
	return n, nil
}

// give checks the hash and writes everything to w. An error of w is a
// *localError.
func (s *spool) give(w io.Writer, sum protocol.Digest) error {
	hash := sha256.New()
	hash.Write(s.mem.Bytes())
	if s.file != nil {
		if err := s.replay(hash); err != nil {
			return err
		}
	}
	if protocol.Digest(hash.Sum(nil)) != sum {
		return errSum
	}
	if _, err := w.Write(s.mem.Bytes()); err != nil {
		return &localError{err}
	}
	if s.file != nil {
		return s.replay(w)
	}
	return nil
}

func (s *spool) replay(w io.Writer) error {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return &localError{err}
	}
	if _, err := io.Copy(w, s.file); err != nil {
		return &localError{err}
	}
	return nil
}
