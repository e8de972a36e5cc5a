package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// A source that is busy is asked again, a little later each time.
const (
	busyRounds = 4
	busyWait   = 250 * time.Millisecond
)

// FetchDAG brings every block under root into the store. The sources are asked
// in order, each for what is still missing. It fails with ErrUnavailable, and
// with the store's error if that cannot take a block; what came until then
// stays. When it succeeds the store knows the root as complete.
func (x *Exchange) FetchDAG(ctx context.Context, root protocol.CID, sources []peer.ID) error {
	whole, err := x.store.Complete(ctx, root)
	if err != nil || whole {
		return err
	}
	err = x.share(ctx, "dag "+string(root), func(ctx context.Context) error {
		return x.fetch(ctx, askDAG, sources, func() ([]protocol.CID, error) {
			return x.store.Missing(ctx, root, maxWanted)
		})
	})
	if err != nil {
		return fmt.Errorf("fetching %s: %w", root, err)
	}
	return nil
}

// FetchBlocks brings the named blocks, and nothing under them, into the store.
// It fails as FetchDAG does.
func (x *Exchange) FetchBlocks(ctx context.Context, cids []protocol.CID, sources []peer.ID) error {
	todo := cids
	err := x.fetch(ctx, askBlocks, sources, func() ([]protocol.CID, error) {
		var missing []protocol.CID
		for len(todo) > 0 && len(missing) < maxWanted {
			here, err := x.store.Has(ctx, todo[0])
			if err != nil {
				return nil, err
			}
			if !here {
				missing = append(missing, todo[0])
			}
			todo = todo[1:]
		}
		todo = append(missing[:len(missing):len(missing)], todo...) // they may still be missing next time
		return missing, nil
	})
	if err != nil {
		return fmt.Errorf("fetching %d blocks, %s first: %w", len(cids), firstOf(cids), err)
	}
	return nil
}

func firstOf(cids []protocol.CID) string {
	if len(cids) == 0 {
		return "none"
	}
	return cids[0].String()
}

// fetch asks the sources for what is missing until nothing is. Missing returns
// up to maxWanted blocks.
func (x *Exchange) fetch(ctx context.Context, kind int, sources []peer.ID, missing func() ([]protocol.CID, error)) error {
	return rounds(ctx, func(said *answers) (done bool, err error) {
		for _, source := range x.others(sources) {
			if done, err := x.drain(ctx, kind, source, missing, said); done || err != nil {
				return done, err
			}
		}
		wanted, err := missing()
		if len(wanted) > 0 {
			said.about = wanted[0]
		}
		return len(wanted) == 0, err
	})
}

// drain asks one source again and again, as long as it brings something.
func (x *Exchange) drain(ctx context.Context, kind int, source peer.ID, missing func() ([]protocol.CID, error), said *answers) (done bool, err error) {
	for {
		wanted, err := missing()
		if err != nil || len(wanted) == 0 {
			return err == nil, err
		}
		got, err := x.download(ctx, source, request{Kind: kind, CIDs: wanted})
		if got > 0 && err == nil {
			continue
		}
		return false, said.add(ctx, source, err)
	}
}

// rounds calls try until it is done or fails, and while a source is busy: a
// little later each time.
func rounds(ctx context.Context, try func(said *answers) (done bool, err error)) error {
	for round := 0; ; round++ {
		var said answers
		if done, err := try(&said); done || err != nil {
			return err
		}
		if !said.busy || round == busyRounds {
			return said.error()
		}
		select {
		case <-time.After(busyWait << round):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// others is sources without this node and without repetitions.
func (x *Exchange) others(sources []peer.ID) []peer.ID {
	seen := map[peer.ID]bool{x.host.ID(): true}
	var out []peer.ID
	for _, p := range sources {
		if !seen[p] {
			seen[p] = true
			out = append(out, p)
		}
	}
	return out
}

var (
	errBusy    = errors.New("it has too much to do")
	errLacking = errors.New("it lacks it")
)

// localError is a failure that no other source could mend.
type localError struct{ err error }

func (e *localError) Error() string { return e.err.Error() }
func (e *localError) Unwrap() error { return e.err }

// answers collects what the sources said instead of what was asked for.
type answers struct {
	about protocol.CID
	texts []string
	more  int
	busy  bool
}

// Bounds of an error that lists them.
const (
	maxAnswers     = 8
	maxAnswerBytes = 200
)

// add notes why source did not help; no error means that it lacks what was
// asked for. It returns an error when going on makes no sense.
func (a *answers) add(ctx context.Context, source peer.ID, err error) error {
	var local *localError
	switch {
	case errors.As(err, &local):
		return local.err
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		err = errLacking
	}
	a.busy = a.busy || errors.Is(err, errBusy)
	if len(a.texts) == maxAnswers {
		a.more++
		return nil
	}
	a.texts = append(a.texts, fmt.Sprintf("%s: %s", source, bounded(err.Error(), maxAnswerBytes)))
	return nil
}

// error says that the block could not be had. It is ErrUnavailable, and
// storage.ErrNotFound as well: the block is not here.
func (a *answers) error() error {
	text := "there is nobody to ask"
	if len(a.texts) > 0 {
		text = strings.Join(a.texts, "; ")
	}
	if a.more > 0 {
		text += fmt.Sprintf("; and %d more", a.more)
	}
	return &unavailable{fmt.Sprintf("%s: %v (%s)", a.about, ErrUnavailable, text)}
}

type unavailable struct{ text string }

func (e *unavailable) Error() string { return e.text }
func (e *unavailable) Is(target error) bool {
	return target == ErrUnavailable || target == storage.ErrNotFound
}
