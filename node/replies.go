package node

import (
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// replyEvery is how often one peer is given all receipts of a shard that it
	// lacks: they may be thousands. Honest peers ask every protocol.DigestEvery,
	// and when the view changes.
	replyEvery = protocol.DigestEvery / 2
	// maxReplies bounds the replies that are remembered: those of a region's
	// stewards, to many shards each. While there are as many, others wait.
	maxReplies = 16384
)

// replies remembers who was given what receipts of which shard, for as long as
// it is not given them again. The loop owns it.
type replies struct{ at map[replyTo]time.Time }

type replyTo struct {
	peer  peer.ID
	job   protocol.CID
	shard int
}

// due reports whether a peer may be given a shard's receipts now.
func (r *replies) due(now time.Time, to replyTo) bool {
	if at, known := r.at[to]; known {
		return now.Sub(at) >= replyEvery
	}
	if len(r.at) >= maxReplies {
		r.drop(now)
	}
	return len(r.at) < maxReplies
}

// given notes that it was. It follows due.
func (r *replies) given(now time.Time, to replyTo) {
	if r.at == nil {
		r.at = map[replyTo]time.Time{}
	}
	r.at[to] = now
}

// drop forgets what says nothing any more.
func (r *replies) drop(now time.Time) {
	for to, at := range r.at {
		if now.Sub(at) >= replyEvery {
			delete(r.at, to)
		}
	}
}
