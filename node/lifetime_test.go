package node

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// meshOf starts nodes of one mesh on loopback that know each other, and can run
// the function "upper".
func meshOf(t *testing.T, size int) []*Node {
	t.Helper()
	var nodes []*Node
	token := ""
	for range size {
		n, err := New(Config{
			Dir: t.TempDir(), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token, Slots: 2, Testing: true,
			Funcs: map[string]Func{"upper": upper},
		})
		must(t, err)
		nodes = append(nodes, n)
		go func() { _ = n.Run(context.Background()) }()
		t.Cleanup(func() { n.Kill() })
		waitFor(t, "a node is ready", func() bool {
			select {
			case <-n.Ready():
				return true
			default:
				return false
			}
		})
		token, err = nodes[0].Invite(InviteOptions{})
		must(t, err)
	}
	for _, n := range nodes {
		waitFor(t, "all nodes know each other", func() bool { return n.Status().Peers == size-1 && len(n.liveNodes()) == size })
	}
	return nodes
}

func upper(_ context.Context, in io.Reader, out, _ io.Writer) error {
	text, err := io.ReadAll(in)
	if err == nil {
		_, err = out.Write(bytes.ToUpper(text))
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// submit submits a small job at a node.
func submit(t *testing.T, n *Node) protocol.CID {
	t.Helper()
	path := filepath.Join(t.TempDir(), "input")
	must(t, os.WriteFile(path, []byte("some words\n"), 0o600))
	job, err := n.Submit(t.Context(), JobSpec{Map: ProgramSpec{Kind: protocol.Func, Func: "upper"}, Inputs: []string{path}}, nil)
	must(t, err)
	return job
}

// finish submits a small job at a node and waits for its end.
func finish(t *testing.T, n *Node) protocol.CID {
	t.Helper()
	job := submit(t, n)
	st, err := n.Wait(t.Context(), job, nil)
	must(t, err)
	if st.State != protocol.StateFinal {
		t.Fatalf("the job ended %s: %s", st.State, st.Error)
	}
	return job
}

// TestSubmitPastDeafNodes submits where a node answers no call, though the
// failure detector finds nothing wrong with it: nobody may wait for it.
func TestSubmitPastDeafNodes(t *testing.T) {
	nodes := meshOf(t, 5)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	nodes[4].mesh.Host().SetStreamHandler(protocol.CallProtocol, func(s network.Stream) {
		<-release
		_ = s.Reset()
	})
	for i, n := range nodes[:4] {
		began := time.Now()
		submit(t, n)
		took := time.Since(began)
		t.Logf("accepted at node %d after %s", i, took)
		if took > 10*time.Second {
			t.Errorf("a job submitted at node %d was accepted after %s: somebody waited for the one that is deaf", i, took)
		}
	}
}

// TestExpiredJobIsForgotten lets a job's time pass: its ledger goes, and what is
// said of it afterwards is refused, though its manifest is still here.
func TestExpiredJobIsForgotten(t *testing.T) {
	n := meshOf(t, 1)[0]
	job := finish(t, n)
	old := n.keptLedger(t.Context(), job)
	if len(old.receipts) == 0 || len(old.facts) == 0 {
		t.Fatalf("kept %d receipts and %d facts", len(old.receipts), len(old.facts))
	}
	until := time.Now().Add(protocol.RunFor + protocol.KeepFor)
	n.sweepAt(t.Context(), until.Add(time.Minute))
	if len(n.ledgersOnDisk()) != 1 {
		t.Fatal("forgotten as soon as it has expired: others may still be late")
	}
	n.sweepAt(t.Context(), until.Add(11*time.Minute))
	if left := n.ledgersOnDisk(); len(left) != 0 || n.localState(t.Context(), job) != nil {
		t.Fatalf("still remembered: %v", left)
	}
	n.clockOffset.Store(int64(protocol.RunFor + protocol.KeepFor + 11*time.Minute))
	hold := &protocol.Hold{Job: job, Sources: []peer.ID{n.id}, Receipts: []protocol.SignedReceipt{old.receipts[0].signed}}
	if err := n.hold(t.Context(), hold); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("a late copy: %v", err)
	}
	n.receive(t.Context(), n.id, &protocol.Done{Job: job, Facts: []protocol.Signed{old.facts[0].signed}})
	n.receive(t.Context(), n.id, &protocol.Announce{Job: job})
	n.loadJobs(t.Context())
	if left := n.ledgersOnDisk(); len(left) != 0 || n.localState(t.Context(), job) != nil {
		t.Errorf("a late message brought it back: %v", left)
	}
	doc, err := n.store.Get(t.Context(), job)
	must(t, err)
	if _, err := n.commit(t.Context(), doc); err == nil {
		t.Error("it was committed once more")
	}
}

// TestResultNeedsReceipt holds that a copy of a result counts only where it is
// known what it is.
func TestResultNeedsReceipt(t *testing.T) {
	n := meshOf(t, 1)[0]
	job := finish(t, n)
	st, err := n.JobStatus(t.Context(), job)
	must(t, err)
	stray := protocol.NewCID(protocol.CodecRaw, []byte("stray"))
	must(t, n.store.Put(t.Context(), stray, []byte("stray")))
	got, err := n.held(t.Context(), &protocol.Held{Roots: []protocol.CID{st.Root, stray}, Job: job})
	must(t, err)
	if !got[0] || got[1] {
		t.Errorf("held: %v, want the root and not the stray block", got)
	}
}
