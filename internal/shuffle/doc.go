// Package shuffle sorts and merges the records that tasks pass to each other.
//
// A record is a line that ends in '\n'. Its key is the bytes before the first
// TAB, or the whole line without one, and keys compare as bytes. Sorting is
// stable: records of equal keys keep the order in which they came, so equal
// input gives equal bytes, whatever memory there was to sort it in.
//
// Enter it through [Sorter], which takes what one program prints and gives it
// back by partition and key; [Merger], which reads several sorted streams as
// one; and [Checker], which passes on only what is still in order.
// [PartitionOf] says which partition a key belongs to.
//
// Nothing here starts a goroutine. A Sorter, a Merger and a Checker each belong
// to one goroutine at a time; functions may be called from any.
package shuffle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

const (
	// DefaultMemory is how many bytes of records a Sorter holds before it
	// writes a sorted run to its scratch folder: the output of most map tasks
	// fits, and a machine runs one Sorter a core.
	DefaultMemory = 64 << 20
	// MaxLine bounds a record, its newline included. Whatever is longer is no record but a program
	// that prints without end.
	MaxLine = 64 << 20
	// MaxFanIn is how many streams are merged at once. Each needs a buffer;
	// more streams are merged in passes.
	MaxFanIn = 512

	readBuffer  = 32 << 10 // of each stream that is merged
	writeBuffer = 256 << 10
)

var (
	// ErrRecord is returned for a line longer than MaxLine.
	ErrRecord = errors.New("a line is longer than 64 MiB: records end with a newline")
	// ErrOrder is returned by a Checker for a record whose key is less than
	// the key before it.
	ErrOrder = errors.New("records are not in the order of their keys")
	// ErrPartition is returned by a Checker for a record whose key belongs to
	// another partition.
	ErrPartition = errors.New("a record has the key of another partition")
)

// The parameters of FNV-1a with 64 bits, see
// https://www.rfc-editor.org/rfc/rfc9923.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

// PartitionOf is the partition of key among partitions, which is at least 1. It
// is FNV-1a with 64 bits, finalised as MurmurHash3 does since the low bits of
// FNV depend on the low bits of the key alone, modulo the number of partitions.
// It never changes: nodes of all versions must agree on it.
func PartitionOf(key []byte, partitions int) int {
	if partitions == 1 {
		return 0
	}
	h := uint64(fnvOffset)
	for _, b := range key {
		h = (h ^ uint64(b)) * fnvPrime
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return int(h % uint64(partitions))
}

// Key is the key of a line, which may end in its newline or not.
func Key(line []byte) []byte {
	if i := bytes.IndexByte(line, '\t'); i >= 0 {
		return line[:i]
	}
	return bytes.TrimSuffix(line, newline)
}

var newline = []byte{'\n'}

// prefixOf is the first eight bytes of key as a number, so that most keys are
// told apart without touching their bytes.
func prefixOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var p uint64
	for i, b := range key {
		p |= uint64(b) << (56 - 8*i)
	}
	return p
}

// compareTails orders two keys of equal prefixes.
func compareTails(a, b []byte) int {
	if len(a) <= 8 && len(b) <= 8 {
		// The prefix pads with zeros: equal prefixes of short keys differ in
		// trailing NULs at most.
		return len(a) - len(b)
	}
	return bytes.Compare(a, b)
}

// Scratch opens a new file in dir that has no name, so that nothing of it stays
// behind when it is closed, or when the process is killed.
func Scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "scratch-*")
	if err != nil {
		return nil, fmt.Errorf("opening a scratch file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close() // it was never used
		return nil, fmt.Errorf("opening a scratch file: %w", err)
	}
	return f, nil
}
