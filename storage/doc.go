// Package storage keeps what a node holds: blocks, each named and checked by
// its content, and small keyed facts beside them. On top of blocks it reads and
// writes files and folders (UnixFS, with the CIDs that any IPFS tool gives
// them) and cuts inputs into the splits that tasks read.
//
// Enter it through [Open], which returns a [Store]. Everything about content
// works over two one-method interfaces, [Getter] and [Putter], which a Store
// implements: a Getter may as well fetch from other nodes, so only the blocks
// that are needed are read.
//
// Concurrency: all methods of a Store may be called from any goroutine. A
// [File] and the reader of [NewSplitReader] belong to one goroutine at a time,
// except for File.ReadAt. Functions start no goroutine that outlives them,
// except for the read-ahead of a File, which ends with the reads it has begun.
// A Store keeps a few background goroutines between Open and Close.
//
// Nothing that a block says is trusted before it is checked: names, sizes,
// depths and counts in it may come from a hostile peer.
package storage
