package scheduler

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Rank orders members by their rendezvous hash with key, highest first
// (Thaler and Ravishankar, "Using name-based mappings to increase hit rates",
// 1998): every node that knows the same members computes the same order, and
// the loss of one moves nothing but its own place.
func Rank(key string, members []peer.ID) []peer.ID {
	type ranked struct {
		id     peer.ID
		weight [sha256.Size]byte
	}
	all := make([]ranked, len(members))
	for i, id := range members {
		all[i] = ranked{id, sha256.Sum256([]byte(key + "\x00" + string(id)))}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		if c := bytes.Compare(b.weight[:], a.weight[:]); c != 0 {
			return c
		}
		return bytes.Compare([]byte(a.id), []byte(b.id))
	})
	out := make([]peer.ID, len(all))
	for i, r := range all {
		out[i] = r.id
	}
	return out
}

// first returns the first n of list, or all when it is shorter.
func first[T any](n int, list []T) []T { return list[:min(n, len(list))] }

// Stewards are the nodes that look after a job, in rank order.
func Stewards(job string, copies int, members []peer.ID) []peer.ID {
	return first(copies, Rank(job, members))
}
