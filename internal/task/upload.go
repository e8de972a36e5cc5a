package task

import (
	"context"
	"fmt"
	"io"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// upload is a writer into a new file of the store. Storing begins with the first
// byte.
type upload struct {
	store func(io.Reader) (protocol.CID, int64, error)
	pipe  *io.PipeWriter
	done  chan struct{} // closed once the following are set
	root  protocol.CID
	size  int64
	err   error
}

// newUpload returns an upload, which finish or abort must end.
func (t *running) newUpload(ctx context.Context) *upload {
	return &upload{store: func(r io.Reader) (protocol.CID, int64, error) {
		root, size, err := storage.Write(ctx, t.put, r)
		if err != nil {
			err = fmt.Errorf("storing the output: %w", err)
		}
		return root, size, err
	}}
}

func (u *upload) Write(p []byte) (int, error) {
	if u.pipe == nil {
		u.begin()
	}
	return u.pipe.Write(p)
}

func (u *upload) begin() {
	r, w := io.Pipe()
	u.pipe, u.done = w, make(chan struct{})
	go func() {
		defer close(u.done)
		u.root, u.size, u.err = u.store(r)
		_ = r.CloseWithError(u.err) // it always returns nil
	}()
}

// finish ends the file and says what it became.
func (u *upload) finish() (protocol.CID, int64, error) {
	if u.pipe == nil {
		u.begin()
	}
	_ = u.pipe.Close() // it always returns nil
	<-u.done
	return u.root, u.size, u.err
}

// begun reports whether anything was written.
func (u *upload) begun() bool { return u.pipe != nil }

// abort ends what has not been finished, and waits for it.
func (u *upload) abort() {
	if u.pipe != nil {
		_ = u.pipe.CloseWithError(context.Canceled) // it always returns nil
		<-u.done
	}
}
