package node

import (
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// commitment is what a node is asked to keep of a job, and the key under which
// its fact lies on the disk.
func commitment(t *testing.T, n *Node, job protocol.CID) (*protocol.Commit, string) {
	t.Helper()
	doc, err := n.store.Get(t.Context(), job)
	must(t, err)
	var stated []protocol.Signed
	n.loop.do(t.Context(), func(time.Time) { stated = n.loop.jobs[job].plan.Ledger.Stated(protocol.Committed) })
	if len(stated) != 1 {
		t.Fatalf("%d nodes state that the job is committed", len(stated))
	}
	return &protocol.Commit{Manifest: doc, Facts: stated}, ledgerKey(job, "fact", stated[0].Body)
}

// TestAcknowledgedCommitIsOnDisk asks a node to keep what it has in memory, and
// has failed to write: the answer stands for the disk.
func TestAcknowledgedCommitIsOnDisk(t *testing.T) {
	n := startNode(t)
	c, key := commitment(t, n, hangingJob(t, n))
	must(t, n.store.DeleteMeta(key))
	must(t, n.committed(t.Context(), c))
	if _, err := n.store.GetMeta(key); err != nil {
		t.Errorf("it was answered for, and the disk says: %v", err)
	}
	if err := n.committed(t.Context(), &protocol.Commit{Manifest: c.Manifest}); err != nil {
		t.Errorf("what is kept is answered for once more: %v", err)
	}
}

// TestNothingIsAcknowledgedThatTheDiskRefuses closes a node's store under it.
func TestNothingIsAcknowledgedThatTheDiskRefuses(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	receipts, err := protocol.SignReceipts([]protocol.Receipt{{Job: job, Result: emptyBlock, Worker: n.id}}, n.mesh.Key())
	must(t, err)
	cancel, err := protocol.SignFact(protocol.Fact{Job: job, Kind: protocol.Cancelled, By: n.id, At: time.Now()}, n.mesh.Key())
	must(t, err)
	must(t, n.store.Close())
	alone := n.mesh.Alive()
	c := scheduler.NewCommit(job, nil, 1, n.id, alone, alone)
	if err := n.begins(t.Context(), job, c, &commitFact{n: n, job: job}); err == nil {
		t.Error("a commit was acknowledged")
	}
	if err := n.holdReceipts(t.Context(), &protocol.Hold{Job: job, Receipts: receipts}); err == nil {
		t.Error("a copy's receipt was acknowledged")
	}
	if _, err := n.cancelled(t.Context(), &protocol.Cancel{Job: job, Fact: cancel}); err == nil {
		t.Error("a cancel was acknowledged")
	}
}
