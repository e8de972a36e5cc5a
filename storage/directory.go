package storage

import (
	"context"
	"fmt"
	"math/bits"
	"sort"
	"strings"

	"github.com/spaolacci/murmur3"
	"google.golang.org/protobuf/encoding/protowire"
)

// putDirectory stores a folder of the given entries, whose names differ, and
// returns the link to it. Folders beyond shardAbove become HAMTs.
func putDirectory(ctx context.Context, p Putter, entries []pbLink) (pbLink, error) {
	sort.Slice(entries, func(i, j int) bool { return entries[i].name < entries[j].name })
	if directorySize(entries) > shardAbove {
		hashes := make([]uint64, len(entries))
		for i, e := range entries {
			hashes[i] = murmur3.Sum64([]byte(e.name))
		}
		return putShard(ctx, p, entries, hashes, 0)
	}
	return putNode(ctx, p, &fsNode{kind: kindDirectory, links: entries})
}

// directorySize is the size of the block that a plain folder would be.
func directorySize(entries []pbLink) int {
	size := 4 // what a folder without entries has
	for _, e := range entries {
		link := protowire.SizeTag(1) + protowire.SizeBytes(len(e.cid)) +
			protowire.SizeTag(2) + protowire.SizeBytes(len(e.name)) +
			protowire.SizeTag(3) + protowire.SizeVarint(e.total)
		size += protowire.SizeTag(2) + protowire.SizeBytes(link)
	}
	return size
}

// hashBits is how many bits choose a slot, and slotDigits how many digits of a
// link's name tell the slot.
const (
	hashBits   = 8
	slotDigits = 2
)

// putShard stores the node of a HAMT that holds the entries; depth nodes are
// above it. An entry sits in the first node where no other shares its slot.
// This is boxo's structure, see ipld/unixfs/hamt there.
func putShard(ctx context.Context, p Putter, entries []pbLink, hashes []uint64, depth int) (pbLink, error) {
	if depth*hashBits >= 64 {
		return pbLink{}, fmt.Errorf("storing a folder: the names %q and %q have the same hash", entries[0].name, entries[1].name)
	}
	var slots [shardWidth][]int
	for i, h := range hashes {
		slot := h >> (64 - hashBits*(depth+1)) & (shardWidth - 1)
		slots[slot] = append(slots[slot], i)
	}
	n := fsNode{kind: kindHAMT, hash: hashMurmur3, fanout: shardWidth}
	var used [shardWidth / 8]byte // the bit of slot 0 is the lowest of the last byte
	for slot, members := range slots {
		if len(members) == 0 {
			continue
		}
		used[len(used)-1-slot/8] |= 1 << (slot % 8)
		link := entries[members[0]]
		name := fmt.Sprintf("%0*X", slotDigits, slot)
		if len(members) == 1 {
			name += link.name
		} else {
			inner, innerHashes := make([]pbLink, len(members)), make([]uint64, len(members))
			for i, m := range members {
				inner[i], innerHashes[i] = entries[m], hashes[m]
			}
			var err error
			if link, err = putShard(ctx, p, inner, innerHashes, depth+1); err != nil {
				return pbLink{}, err
			}
		}
		link.name = name
		n.links = append(n.links, link)
	}
	n.data = trimZeros(used[:])
	return putNode(ctx, p, &n)
}

func trimZeros(b []byte) []byte {
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// entries returns what the folder n holds, by name. The names are checked:
// each can be the name of a file in a folder of any system, and none comes
// twice.
func (n *fsNode) entries(ctx context.Context, g Getter, budget *int) ([]pbLink, error) {
	var out []pbLink
	var err error
	switch n.kind {
	case kindDirectory:
		*budget -= len(n.links)
		out = n.links
	case kindHAMT:
		out, err = n.shardEntries(ctx, g, nil, 0, budget)
	default:
		err = malformed("not a folder")
	}
	if err != nil {
		return nil, err
	}
	if *budget < 0 {
		return nil, malformed("more than %d files", maxEntries)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].name < out[j].name })
	for i, e := range out {
		if !plainName(e.name) {
			return nil, malformed("an entry named %.300q", e.name)
		}
		if i > 0 && out[i-1].name == e.name {
			return nil, malformed("two entries named %q", e.name)
		}
	}
	return out, nil
}

// shardEntries appends the entries of a HAMT's node and of those beneath it.
func (n *fsNode) shardEntries(ctx context.Context, g Getter, out []pbLink, depth int, budget *int) ([]pbLink, error) {
	if depth*hashBits >= 64 {
		return nil, malformed("a sharded folder deeper than its hash")
	}
	digits := (bits.Len64(n.fanout-1) + 3) / 4
	for _, l := range n.links {
		if *budget--; *budget < 0 {
			return nil, malformed("more than %d files", maxEntries)
		}
		if len(l.name) < digits {
			return nil, malformed("a slot named %q", l.name)
		}
		if len(l.name) > digits {
			l.name = l.name[digits:]
			out = append(out, l)
			continue
		}
		inner, err := getFS(ctx, g, l.cid)
		if err != nil {
			return nil, err
		}
		if inner.kind != kindHAMT {
			return nil, malformed("a sharded folder over something else")
		}
		if out, err = inner.shardEntries(ctx, g, out, depth+1, budget); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// maxEntries bounds the files and folders of one traversal: a DAG of a few
// blocks that link to each other many times over spans more than any machine
// can visit.
const maxEntries = 1 << 22

// plainName reports whether name is the name of a file within a folder.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\\\x00")
}
