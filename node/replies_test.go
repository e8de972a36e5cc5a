package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// TestAnnouncementsGetOneReply repeats an announcement that lacks everything: all
// get the facts, and one in each period the receipts.
func TestAnnouncementsGetOneReply(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	h.says(t, &protocol.Done{Job: job, Receipts: []protocol.SignedReceipt{h.receipt(t, job, protocol.Key{}, h.Key())}})
	eventually(t, "there is a receipt", func() bool { return n.localState(t.Context(), job).Executions > 0 })
	var facts, receipts [3]int
	n.loop.do(t.Context(), func(now time.Time) {
		for i, at := range []time.Duration{0, replyEvery - 1, replyEvery} {
			for range 100 { // to itself, where they can be counted
				n.loop.announced(now.Add(at), n.id, &protocol.Announce{Job: job, Want: true})
			}
			for _, m := range n.loop.inbox {
				d := m.(*protocol.Done)
				facts[i] += len(d.Facts)
				receipts[i] += len(d.Receipts)
			}
			n.loop.inbox = nil
		}
	})
	if facts != [3]int{100, 100, 100} || receipts != [3]int{1, 0, 1} {
		t.Errorf("facts %v and receipts %v were given", facts, receipts)
	}
}

// TestRepliesAreBounded gives as many peers receipts as are remembered.
func TestRepliesAreBounded(t *testing.T) {
	var r replies
	now := time.Unix(1e9, 0)
	for i := range maxReplies + 10 {
		to := replyTo{peer: peer.ID(fmt.Sprint(i))}
		if due := r.due(now, to); due != (i < maxReplies) {
			t.Fatalf("reply %d is due: %v", i, due)
		} else if due {
			r.given(now, to)
		}
	}
	if to := (replyTo{peer: "late"}); !r.due(now.Add(replyEvery), to) || len(r.at) != 0 {
		t.Errorf("once all are old, another is not due, or %d are remembered", len(r.at))
	}
}
