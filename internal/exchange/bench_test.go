package exchange

import "testing"

// BenchmarkFetchDAG moves a file of 1 MiB blocks between two hosts over TCP on
// the loopback, from store to store.
func BenchmarkFetchDAG(b *testing.B) {
	const size = 256 * mib
	source := newNode(b)
	root := source.add(b, noise(1, size))
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		n := newNode(b)
		sources := n.knows(source)
		ok(b, n.Connect(b.Context(), n.Peerstore().PeerInfo(source.ID())))
		b.StartTimer()
		ok(b, n.x.FetchDAG(b.Context(), root, sources))
	}
}
