package scheduler

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestTooManyReceipts holds that the bound on a task's receipts does not make
// the join depend on their order, and that a result that was lost is found
// again when the ledger is full.
func TestTooManyReceipts(t *testing.T) {
	m := simManifest(1, 0, false)
	job := protocol.NewCID(protocol.CodecDagCBOR, []byte("job"))
	receipt := func(took int) (protocol.SignedReceipt, *protocol.Receipt) {
		r := &protocol.Receipt{Job: job, Inputs: protocol.InputsDigest(0, []protocol.CID{m.Splits}), Result: protocol.NewCID(protocol.CodecRaw, nil), Took: time.Duration(took), Worker: peer.ID(fmt.Sprintf("%03d", took))}
		return protocol.SignedReceipt{Body: protocol.Encode(r)}, r
	}
	up, down := NewPlan(job, m), NewPlan(job, m)
	for i := range 2 * maxReceiptsPerTask {
		up.AddReceipt(receipt(i))
		down.AddReceipt(receipt(2*maxReceiptsPerTask - 1 - i))
	}
	if len(up.Ledger.tasks.get(protocol.Key{}).receipts) != maxReceiptsPerTask || !same(up.Ledger, down.Ledger) {
		t.Fatalf("%d and %d receipts, and not the same", len(up.Ledger.tasks.get(protocol.Key{}).receipts), len(down.Ledger.tasks.get(protocol.Key{}).receipts))
	}
	up.Lose(protocol.Key{})
	up.AddReceipt(receipt(0)) // repeated: it says nothing
	if !up.at(protocol.Key{}).lost {
		t.Fatal("a repeated receipt brought a lost result back")
	}
	up.AddReceipt(receipt(100))
	if up.at(protocol.Key{}).lost {
		t.Fatal("a lost result that was computed again stays lost")
	}
}

func same(a, b *Ledger) bool {
	ra, fa := a.Everything()
	rb, fb := b.Everything()
	if len(ra) != len(rb) || len(fa) != len(fb) {
		return false
	}
	for i := range ra {
		if !bytes.Equal(ra[i].Body, rb[i].Body) {
			return false
		}
	}
	for i := range fa {
		if !bytes.Equal(fa[i].Body, fb[i].Body) {
			return false
		}
	}
	return true
}
