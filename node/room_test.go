package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// fillUp has a node look after as many jobs as it may, all like one that it
// has.
func fillUp(t *testing.T, n *Node, like protocol.CID) {
	t.Helper()
	n.loop.do(t.Context(), func(now time.Time) {
		m := n.loop.jobs[like].plan.Manifest
		for i := len(n.loop.jobs); i < maxJobs; i++ {
			id := protocol.NewCID(protocol.CodecDagCBOR, fmt.Appendf(nil, "job %d", i))
			n.loop.jobs[id] = n.loop.newJob(now, id, m)
		}
	})
}

// TestFullNodeTakesNoMoreJobs fills a node with jobs that do not end. One more
// is refused until one of them has ended, whose place it takes.
func TestFullNodeTakesNoMoreJobs(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleStore)
	doc := again(t, n, job, 0)
	more := &protocol.Request{Commit: &protocol.Commit{
		Manifest: doc, Facts: []protocol.Signed{h.fact(t, protocol.Fact{Job: protocol.JobID(doc), Kind: protocol.Committed, Copies: 1})},
	}}
	fillUp(t, n, job)
	refuses(t, n, job, RefusedFull, func() {
		if a := n.answer(t.Context(), h.ID(), more); !strings.Contains(a.Error, "not taken up") {
			t.Errorf("it was answered: %+v", a)
		}
	})
	n.loop.do(t.Context(), func(time.Time) { n.loop.jobs[job].ended = true })
	if a := n.answer(t.Context(), h.ID(), more); a.Error != "" {
		t.Errorf("refused though one had ended: %s", a.Error)
	}
	if n.localState(t.Context(), job) != nil || n.localState(t.Context(), protocol.JobID(doc)) == nil {
		t.Error("the new job did not take the place of the one that had ended")
	}
}

// TestJobsOfTheFutureAreNotKept submits a job that is to be created in ten years.
func TestJobsOfTheFutureAreNotKept(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	later := &protocol.Request{Commit: &protocol.Commit{Manifest: again(t, n, job, 10*protocol.MaxLife)}}
	refuses(t, n, job, RefusedBounds, func() {
		if a := h.calls(t, later); !strings.Contains(a.Error, "clock") {
			t.Errorf("it was answered: %+v", a)
		}
	})
}

// again is the manifest of one more job like another, which is created later.
func again(t *testing.T, n *Node, like protocol.CID, by time.Duration) []byte {
	t.Helper()
	doc, err := n.store.Get(t.Context(), like)
	must(t, err)
	m, err := protocol.OpenManifest(doc)
	must(t, err)
	m.Nonce = make([]byte, len(m.Nonce))
	m.Created, m.RunUntil, m.KeepUntil = m.Created.Add(by), m.RunUntil.Add(by), m.KeepUntil.Add(by)
	doc, err = protocol.SignManifest(*m, n.mesh.Key())
	must(t, err)
	return doc
}
