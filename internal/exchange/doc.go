// Package exchange moves blocks between nodes that know of each other what they
// hold: the direct stream of protocol.BlockProtocol, over any libp2p host.
//
// Enter it through [New] and [Exchange.Start], which begins to serve; then
// [Exchange.FetchDAG], [Exchange.FetchBlocks] and [Exchange.FetchRange] bring
// things here, and [Exchange.Getter] reads what may have to be fetched first.
//
// One request is one stream. The server streams a whole DAG depth-first in
// answer to its root, so a fetch costs one round trip. The receiver believes
// nothing: a block must be what its CID names, and must have been asked for or
// linked from a block that came before.
//
// Concurrency: all methods may be called from any goroutine. A fetch that is
// under way for the same thing is shared. Close waits for everything that was
// started.
package exchange
