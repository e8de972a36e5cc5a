package protocol

import (
	"math/rand/v2"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// testKey returns the Ed25519 key of a seed, and its peer ID.
func testKey(t testing.TB, seed byte) (crypto.PrivKey, peer.ID) {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.NewChaCha8([32]byte{seed}))
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, id
}

// eachFlip calls check with every copy of b that differs in one bit of one
// byte.
func eachFlip(b []byte, check func(at int, altered []byte)) {
	for i := range b {
		altered := append([]byte(nil), b...)
		altered[i] ^= 1 << (i % 8)
		check(i, altered)
	}
}
