package node

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/internal/mesh"
	"github.com/meshnode/meshnode/protocol"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// startNode runs a node of its own mesh until the test ends. It has one
// function, which runs for as long as its task is wanted.
func startNode(t *testing.T) *Node {
	t.Helper()
	hang := func(ctx context.Context, _ io.Reader, _, _ io.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	}
	n, err := New(Config{
		Dir: t.TempDir(), Name: "honest", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Slots: 1, Testing: true, Funcs: map[string]Func{"hang": hang},
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Run(context.Background()) }()
	t.Cleanup(func() {
		_ = n.Close()
		if err := <-ended; err != nil {
			t.Errorf("the node ended: %v", err)
		}
	})
	<-n.Ready()
	return n
}

// hangingJob commits a job whose one task never ends.
func hangingJob(t *testing.T, n *Node) protocol.CID {
	t.Helper()
	in := filepath.Join(t.TempDir(), "in")
	if err := os.WriteFile(in, []byte("a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	id, err := n.Submit(ctx, JobSpec{Map: ProgramSpec{Kind: protocol.Func, Func: "hang"}, Inputs: []string{in}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// hostile is a member with a valid certificate and no node behind it: it says
// what a test has it say.
type hostile struct {
	*mesh.Mesh
	to *Node
}

func joinHostile(t *testing.T, n *Node, roles ...string) *hostile {
	t.Helper()
	token, err := n.Invite(InviteOptions{Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	m, err := mesh.New(mesh.Config{Dir: t.TempDir(), Name: "hostile", Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Join: token, NoDHTRefresh: true, WAN: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-ended
		_ = m.Close()
	})
	eventually(t, "the hostile member joins", func() bool { return n.mesh.IsMember(m.ID()) && m.IsMember(n.id) })
	return &hostile{m, n}
}

// eventually waits for what must become true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// writes sends bytes on a message stream of its own, and returns once the node
// has closed it or taken them.
func (h *hostile) writes(t *testing.T, b []byte) {
	t.Helper()
	s, err := h.Host().NewStream(t.Context(), h.to.id, protocol.JobProtocol)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	_ = s.SetDeadline(time.Now().Add(patience))
	if _, err := s.Write(b); err != nil {
		return // the node has heard enough
	}
	_ = s.CloseWrite()
	_, _ = io.Copy(io.Discard, s)
}

// says sends messages on one stream.
func (h *hostile) says(t *testing.T, messages ...protocol.Message) {
	t.Helper()
	h.writes(t, frames(messages...))
}

// calls makes a call and returns what the node answers.
func (h *hostile) calls(t *testing.T, q *protocol.Request) *protocol.Answer {
	t.Helper()
	c := newCaller(h.Host(), quiet, nil)
	defer c.close()
	a, err := c.call(t.Context(), h.to.id, q, patience)
	if a == nil {
		t.Fatal(err)
	}
	return a
}

// receipt is one of this member's, of a task that it has not run.
func (h *hostile) receipt(t *testing.T, job protocol.CID, task protocol.Key, key crypto.PrivKey) protocol.SignedReceipt {
	t.Helper()
	by, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := []byte("made up by " + by.String() + "\n")
	r := protocol.Receipt{Job: job, Task: task, Result: protocol.NewCID(protocol.CodecRaw, block), Size: int64(len(block)), Worker: by, Block: block}
	signed, err := protocol.SignReceipts([]protocol.Receipt{r}, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed[0]
}

func (h *hostile) fact(t *testing.T, f protocol.Fact) protocol.Signed {
	t.Helper()
	f.At = time.Now()
	signed, err := protocol.SignFact(f, h.Key())
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// refuses holds that what do has a member send is counted under one cause, and
// that nothing else comes of it.
func refuses(t *testing.T, n *Node, job protocol.CID, cause Refusal, do func()) {
	t.Helper()
	count := func() int64 { return n.Status().Refused[string(cause)] }
	state := func() protocol.JobState { return *n.localState(t.Context(), job) }
	before, as := count(), state()
	do()
	eventually(t, "it is counted as "+string(cause), func() bool { return count() > before })
	if now := state(); now.State != as.State || now.Done != as.Done || now.Executions != as.Executions || now.Root != as.Root {
		t.Fatalf("the job was %+v and is %+v", as, now)
	}
}
