// Package localtest is a scripted node for tests of whatever talks to one
// through the local API: it answers as it was told, and keeps what it was asked.
//
// Enter it through [New]; set its fields before it is served. Its methods may be
// called from any goroutine.
package localtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Node answers the calls of the local API.
type Node struct {
	State   node.Status
	Members []node.Peer
	Token   string
	Errs    map[string]error // by method: what it fails with
	Hangs   map[string]bool  // by method: it returns only when its context ends

	Seen    []node.JobStatus // what Wait reports; the last one is how the job ended
	Output  []byte           // the job's result; with Errs["Result"], what comes before the error
	Parts   [][]byte
	Partial bool // the result is provisional
	Entries []node.LogEntry
	Stories map[string]node.Explanation // by STAGE/INDEX; "" is that of the job

	Entered chan string // gets the name of each method that hangs

	mu     sync.Mutex
	files  map[protocol.CID][]byte
	specs  []node.JobSpec
	ended  []string
	reads  []string
	narrow []node.InviteOptions
}

// entered bounds how many hanging calls are kept for the test to see.
const entered = 16

// New returns a node of a mesh of its own, with the job that Job names.
func New(id peer.ID) *Node {
	return &Node{
		State:   node.Status{ID: id, Name: "fake", Mesh: id.String(), Addrs: []string{"/ip4/127.0.0.1/tcp/1/p2p/" + id.String()}, Slots: 2},
		Members: []node.Peer{{ID: id, Name: "fake", State: node.Alive, Self: true, Slots: 2}},
		Token:   "token", Errs: map[string]error{}, Hangs: map[string]bool{},
		Entered: make(chan string, entered), files: map[protocol.CID][]byte{},
	}
}

// Job is the ID of the one job that a Node knows.
func Job() protocol.CID { return protocol.NewCID(protocol.CodecDagCBOR, []byte("job")) }

// Specs are the jobs that were submitted.
func (n *Node) Specs() []node.JobSpec {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]node.JobSpec(nil), n.specs...)
}

// Paths are the paths that the node was asked to read or write.
func (n *Node) Paths() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.reads...)
}

// Invites are the options of the invitations that were made.
func (n *Node) Invites() []node.InviteOptions {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]node.InviteOptions(nil), n.narrow...)
}

// Ended are the hanging methods whose context ended.
func (n *Node) Ended() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.ended...)
}

// enter does what the script says of method: hang, fail, or nothing.
func (n *Node) enter(ctx context.Context, method string) error {
	if n.Hangs[method] {
		n.Entered <- method
		<-ctx.Done()
		n.mu.Lock()
		n.ended = append(n.ended, method)
		n.mu.Unlock()
		return ctx.Err()
	}
	return n.Errs[method]
}

func (n *Node) touch(path string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reads = append(n.reads, path)
}

func (n *Node) Status() node.Status { return n.State }
func (n *Node) Peers() []node.Peer  { return n.Members }

func (n *Node) Invite(o node.InviteOptions) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.narrow = append(n.narrow, o)
	return n.Token, n.Errs["Invite"]
}

func (n *Node) Add(ctx context.Context, path string, progress node.Progress) (node.Added, error) {
	n.touch(path)
	if err := n.enter(ctx, "Add"); err != nil {
		return node.Added{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return node.Added{}, fmt.Errorf("%w: %w", node.ErrInput, err)
	}
	progress(0, int64(len(data)))
	progress(int64(len(data)), int64(len(data)))
	c := protocol.NewCID(protocol.CodecRaw, data)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.files[c] = data
	return node.Added{CID: c, Bytes: int64(len(data)), Files: 1, Copies: 1}, nil
}

func (n *Node) file(c protocol.CID) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	data, ok := n.files[c]
	if !ok {
		return nil, fmt.Errorf("%w: %s", node.ErrNotFound, c)
	}
	return data, nil
}

func (n *Node) Cat(ctx context.Context, c protocol.CID, w io.Writer) error {
	if err := n.enter(ctx, "Cat"); err != nil {
		return err
	}
	data, err := n.file(c)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func (n *Node) Get(ctx context.Context, c protocol.CID, path string, progress node.Progress) error {
	n.touch(path)
	if err := n.enter(ctx, "Get"); err != nil {
		return err
	}
	data, err := n.file(c)
	if err != nil {
		return err
	}
	progress(int64(len(data)), int64(len(data)))
	return os.WriteFile(path, data, 0o600)
}

func (n *Node) Submit(ctx context.Context, spec node.JobSpec, progress node.Progress) (protocol.CID, error) {
	n.mu.Lock()
	n.specs = append(n.specs, spec)
	n.mu.Unlock()
	if err := n.enter(ctx, "Submit"); err != nil {
		return "", err
	}
	progress(1, 1)
	return Job(), nil
}

func (n *Node) Jobs(ctx context.Context) ([]node.JobStatus, error) {
	if err := n.enter(ctx, "Jobs"); err != nil {
		return nil, err
	}
	return n.last(), nil
}

// last is the list of the one job, or of none.
func (n *Node) last() []node.JobStatus {
	if len(n.Seen) == 0 {
		return nil
	}
	return n.Seen[len(n.Seen)-1:]
}

func (n *Node) known(job protocol.CID) error {
	if job != Job() {
		return fmt.Errorf("%w: %s", node.ErrUnknownJob, job)
	}
	return nil
}

func (n *Node) JobStatus(ctx context.Context, job protocol.CID) (node.JobStatus, error) {
	if err := n.enter(ctx, "JobStatus"); err != nil {
		return node.JobStatus{}, err
	}
	if err := n.known(job); err != nil {
		return node.JobStatus{}, err
	}
	return n.Seen[len(n.Seen)-1], nil
}

func (n *Node) Wait(ctx context.Context, job protocol.CID, report func(node.JobStatus)) (node.JobStatus, error) {
	if err := n.known(job); err != nil {
		return node.JobStatus{}, err
	}
	for _, st := range n.Seen {
		report(st)
	}
	if err := n.enter(ctx, "Wait"); err != nil {
		return node.JobStatus{}, err
	}
	return n.Seen[len(n.Seen)-1], nil
}

func (n *Node) Result(ctx context.Context, job protocol.CID, w io.Writer) (bool, error) {
	if err := n.known(job); err != nil {
		return false, err
	}
	if _, err := io.Copy(w, bytes.NewReader(n.Output)); err != nil {
		return false, err
	}
	return n.Partial, n.enter(ctx, "Result")
}

func (n *Node) ResultParts(ctx context.Context, job protocol.CID, path string) (bool, error) {
	n.touch(path)
	if err := n.enter(ctx, "ResultParts"); err != nil {
		return false, err
	}
	if err := n.known(job); err != nil {
		return false, err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return false, err
	}
	for i, part := range n.Parts {
		if err := os.WriteFile(filepath.Join(path, fmt.Sprintf("part-%05d", i)), part, 0o600); err != nil {
			return false, err
		}
	}
	return n.Partial, nil
}

func (n *Node) Logs(ctx context.Context, job protocol.CID, each func(node.LogEntry) error) error {
	if err := n.known(job); err != nil {
		return err
	}
	for _, e := range n.Entries {
		if err := each(e); err != nil {
			return err
		}
	}
	return n.enter(ctx, "Logs")
}

// FindTask knows tasks that there are stories of by their numbers alone.
func (n *Node) FindTask(_ context.Context, job protocol.CID, text string) (protocol.Key, error) {
	if err := n.known(job); err != nil {
		return protocol.Key{}, err
	}
	var k protocol.Key
	if _, err := fmt.Sscanf(text, "%d/%d", &k.Stage, &k.Index); err != nil {
		return k, fmt.Errorf("%w: %q", node.ErrUnknownTask, text)
	}
	if _, known := n.Stories[k.String()]; !known {
		return k, fmt.Errorf("%w: the job has no task %s", node.ErrUnknownTask, k)
	}
	return k, nil
}

func (n *Node) Explain(ctx context.Context, job protocol.CID, task *protocol.Key) (node.Explanation, error) {
	if err := n.enter(ctx, "Explain"); err != nil {
		return node.Explanation{}, err
	}
	if task != nil {
		return n.Stories[task.String()], n.known(job)
	}
	return n.Stories[""], n.known(job)
}

func (n *Node) Cancel(ctx context.Context, job protocol.CID) error {
	if err := n.enter(ctx, "Cancel"); err != nil {
		return err
	}
	return n.known(job)
}
