// Package node is one peer of a mesh: it joins, stores, computes and answers.
//
// Enter it through [New] with a [Config], then [Node.Run]. A program that
// embeds a node and wants it to run wasm or exec programs calls [ServeChild]
// first thing in its main.
//
// All of Node's methods may be called from any goroutine once Run has been
// called and Ready is closed. The state machines of package scheduler are
// owned by one loop (loop.go); everything else that a node does runs in
// goroutines that Run starts and waits for.
package node
