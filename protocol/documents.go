package protocol

// The documents that tasks exchange through blocks. Each is one block under
// CodecDagCBOR, so that its links are followed like any other's.

// Range is a piece of a file that a task reads: the bytes from Offset to
// Offset+Length, except that the reader moves both ends to the record
// boundaries that follow them.
type Range struct {
	_      struct{} `cbor:",toarray"`
	File   CID
	Offset int64
	Length int64
	Size   int64 // of the whole file
}

// SplitTable is the root of a job's splits: split i stands in page
// i/SplitsPerPage.
type SplitTable struct {
	Count int   `cbor:"count"`
	Bytes int64 `cbor:"bytes"` // of all inputs
	Pages []CID `cbor:"pages"`
}

// SplitPage holds up to SplitsPerPage splits; each is a list of ranges.
type SplitPage struct {
	Splits [][]Range `cbor:"splits"`
}

// SplitsPerPage is how many splits one page holds, unless they hold so many
// ranges that a page ends earlier; see SplitTable's pages.
const SplitsPerPage = 64

// Shuffle is the result of a partitioned task: one file that holds all
// partitions one after another, each sorted by key, and where each begins. The
// hash lets one partition be checked without its neighbours.
type Shuffle struct {
	File  CID         `cbor:"file"` // the zero CID when every partition is empty
	Parts []Partition `cbor:"parts"`
}

// Partition is one partition of a shuffle file.
type Partition struct {
	_      struct{} `cbor:",toarray"`
	Offset int64
	Length int64
	Sum    Digest
}
