// Package local is the way into a running node from the same machine: HTTP and
// JSON on a unix socket in the node's directory.
//
// A node's process serves with [New] and [Server.Run]; everybody else calls
// [Dial] and then the methods of [Client], which are those of node.Node. Errors
// keep their identity on the way: errors.Is finds the sentinels of package node
// on the client's side.
//
// Only the user who runs the node, and root, get in: the socket has mode 0600
// and the kernel is asked who is at the other end of every connection, on both
// sides.
//
// Long calls report while they run, as one JSON object per line. Results are
// raw bytes, and how they ended stands in the trailer, so that a result that
// broke off never looks whole. A client that goes away ends its call.
//
// Concurrency: a Client and a Server may be used from any goroutine. Callbacks
// of a client's method are called by one goroutine, before the method returns.
package local
