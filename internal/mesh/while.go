package mesh

import (
	"context"
	"errors"

	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrGone is why a context of While has ended: the member is suspected, dead or has left.
var ErrGone = errors.New("the member no longer answers")

// While returns a context that ends with ctx, and with the cause ErrGone once p
// is no longer among those of Alive; one that was never seen there may be new.
// A process that hangs keeps its connections open, and
// libp2p needs more than half a minute to notice; whoever waits for an answer
// need not. The caller calls the function, which ends the watching.
func (m *Mesh) While(ctx context.Context, p peer.ID) (context.Context, context.CancelFunc) {
	return m.view.while(ctx, p)
}

func (v *view) while(ctx context.Context, p peer.ID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx
		for {
			changed := v.change()
			if state, _ := v.state(p); state != "" && state != StateAlive {
				cancel(ErrGone)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}
