package protocol

import (
	"bytes"
	"crypto/sha256"
)

// A Merkle tree over the receipts of one batch. Leaves and nodes are hashed
// under different prefixes (RFC 9162, section 2.1), and a node without a
// sibling moves up unchanged. Where that happens follows from the number of
// leaves, which is signed with the root: so a receipt has exactly one index and
// path that hold, and equal receipts have equal bytes.

func leafHash(b []byte) Digest { return sha256.Sum256(append([]byte{0}, b...)) }

func nodeHash(l, r Digest) Digest {
	return sha256.Sum256(bytes.Join([][]byte{{1}, l[:], r[:]}, nil))
}

// batchBody is what the signature of a batch covers.
func batchBody(leaves int, root Digest) []byte { return append([]byte{byte(leaves)}, root[:]...) }

// merkle returns the root over the leaves, of which there is at least one, and
// for each leaf its siblings from the bottom up.
func merkle(level []Digest) (root Digest, paths [][]Digest) {
	paths = make([][]Digest, len(level))
	at := make([]int, len(level)) // where each leaf's ancestor stands now
	for i := range at {
		at[i] = i
	}
	for len(level) > 1 {
		for i, a := range at {
			if a^1 < len(level) {
				paths[i] = append(paths[i], level[a^1])
			}
			at[i] = a / 2
		}
		var up []Digest
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, nodeHash(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		level = up
	}
	return level[0], paths
}

// climb returns the root that the leaf h at index of a batch leads to along
// path. It reports false when such a batch has no such index or path.
func climb(h Digest, index, leaves int, path []Digest) (Digest, bool) {
	if index < 0 || index >= leaves {
		return h, false
	}
	for ; leaves > 1; index, leaves = index/2, ceilDiv(leaves, 2) {
		if index^1 >= leaves {
			continue
		}
		if len(path) == 0 {
			return h, false
		}
		if index%2 == 0 {
			h = nodeHash(h, path[0])
		} else {
			h = nodeHash(path[0], h)
		}
		path = path[1:]
	}
	return h, len(path) == 0
}
