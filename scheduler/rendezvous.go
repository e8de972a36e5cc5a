package scheduler

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
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

// Stewards are the nodes that look after a shard of a job, in rank order.
func Stewards(job string, shard, copies int, members []peer.ID) []peer.ID {
	key := job
	if shard > 0 {
		key = fmt.Sprintf("%s/%d", job, shard)
	}
	return first(copies, Rank(key, members))
}

// Ranks are the stewards of a job's shards, each worked out when it is first
// asked for.
type Ranks struct {
	job     string
	copies  int
	members []peer.ID
	byShard map[int][]peer.ID
}

// NewRanks returns the ranks of a job among no members.
func NewRanks(job protocol.CID, copies int) *Ranks {
	return &Ranks{job: string(job), copies: copies, byShard: map[int][]peer.ID{}}
}

// SetNodes tells which nodes live, and reports whether any of the stewards may
// have changed.
func (r *Ranks) SetNodes(nodes []Node) bool {
	var members []peer.ID
	for _, n := range nodes {
		if !n.NoStore {
			members = append(members, n.ID)
		}
	}
	slices.Sort(members)
	if slices.Equal(members, r.members) {
		return false
	}
	r.members, r.byShard = members, map[int][]peer.ID{}
	return true
}

// Of are the stewards of a shard, in rank order.
func (r *Ranks) Of(shard int) []peer.ID {
	if _, known := r.byShard[shard]; !known {
		r.byShard[shard] = Stewards(r.job, shard, r.copies, r.members)
	}
	return r.byShard[shard]
}
