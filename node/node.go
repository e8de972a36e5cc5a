package node

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// Errors that callers may want to tell apart.
var (
	// ErrUnknownJob: no live member that could be asked knows the job.
	ErrUnknownJob = errors.New("unknown job")
	// ErrNotFound: no live member holds a block that is needed.
	ErrNotFound = errors.New("not found on any live node")
	// ErrNotFinished: the job has no result yet.
	ErrNotFinished = errors.New("the job has no result yet")
	// ErrJobFailed: the job ended without a result.
	ErrJobFailed = errors.New("the job failed")
	// ErrNoCapableNode: no live node can run a program of the job.
	ErrNoCapableNode = errors.New("no live node can run this program")
	// ErrInUse: another process uses the node's directory.
	ErrInUse = errors.New("another meshnode uses this directory")
	// ErrInput: what the caller named cannot be used.
	ErrInput = errors.New("bad input")
)

// Config configures a node. The zero value of a field means its default.
type Config struct {
	Dir       string   // home of the node's keys, blocks and scratch; required
	Name      string   // for people; the host's name
	Listen    []string // multiaddrs; /ip4/0.0.0.0/tcp/0
	Join      string   // a token; without one, and without a mesh in Dir, the node founds a mesh
	Slots     int      // tasks run at once; the number of cores
	AllowExec bool     // run native commands of this mesh's members
	MDNS      bool     // look for members on the local network
	Funcs     map[string]Func
	Logger    *slog.Logger // discards
}

// Func is a Go function that runs as a program: a split on in, records on out.
// Standard error, its log, is log. A non-nil error fails the task.
type Func func(ctx context.Context, in io.Reader, out, log io.Writer) error

// Node is one peer of a mesh.
type Node struct{}

// New prepares a node and starts nothing. It fails with ErrInUse when another
// process uses the directory.
func New(cfg Config) (*Node, error) { return nil, errors.ErrUnsupported }

// Run runs the node until ctx ends, then leaves the mesh and waits for all its
// parts to end.
func (n *Node) Run(ctx context.Context) error { return errors.ErrUnsupported }

// Ready is closed once the node listens and has joined or founded its mesh.
func (n *Node) Ready() <-chan struct{} { return nil }

// Close ends the node as the end of Run's context does, waits, and may be called twice.
func (n *Node) Close() error { return errors.ErrUnsupported }

// Kill ends the node without a word to anybody, as a crash would. It is for tests of faults.
func (n *Node) Kill() {}

// ID is the node's peer ID.
func (n *Node) ID() peer.ID { return "" }

// Status is the node's account of itself.
func (n *Node) Status() Status { return Status{} }

// Peers are the members that this node knows, itself first, then by name and ID.
func (n *Node) Peers() []Peer { return nil }

// Invite makes a token that admits one node to the mesh.
func (n *Node) Invite(o InviteOptions) (string, error) { return "", errors.ErrUnsupported }

// Add imports the file or folder at path and returns when min(r, live) nodes hold every block.
func (n *Node) Add(ctx context.Context, path string, progress Progress) (Added, error) {
	return Added{}, errors.ErrUnsupported
}

// Cat writes the file that c names to w, fetching what is not here.
func (n *Node) Cat(ctx context.Context, c protocol.CID, w io.Writer) error {
	return errors.ErrUnsupported
}

// Get writes the file or folder that c names to path, which must not exist.
func (n *Node) Get(ctx context.Context, c protocol.CID, path string, progress Progress) error {
	return errors.ErrUnsupported
}

// Submit captures a job's programs, files and inputs, spreads them and commits the job.
func (n *Node) Submit(ctx context.Context, spec JobSpec, progress Progress) (protocol.CID, error) {
	return "", errors.ErrUnsupported
}

// Jobs are the jobs that live members know, newest first.
func (n *Node) Jobs(ctx context.Context) ([]JobStatus, error) { return nil, errors.ErrUnsupported }

// JobStatus asks the job's stewards how far it is.
func (n *Node) JobStatus(ctx context.Context, job protocol.CID) (JobStatus, error) {
	return JobStatus{}, errors.ErrUnsupported
}

// Wait returns when the job has ended; report, which may be nil, is called at every change seen.
func (n *Node) Wait(ctx context.Context, job protocol.CID, report func(JobStatus)) (JobStatus, error) {
	return JobStatus{}, errors.ErrUnsupported
}

// Result writes the job's result to w. Provisional reports that its copies are not yet enough.
func (n *Node) Result(ctx context.Context, job protocol.CID, w io.Writer) (provisional bool, err error) {
	return false, errors.ErrUnsupported
}

// ResultParts writes the job's result to the new folder path as part-00000, part-00001, ...
func (n *Node) ResultParts(ctx context.Context, job protocol.CID, path string) (provisional bool, err error) {
	return false, errors.ErrUnsupported
}

// Logs calls each with the log of every run of a task that ended, failed runs too, in the order of their tasks.
func (n *Node) Logs(ctx context.Context, job protocol.CID, each func(LogEntry) error) error {
	return errors.ErrUnsupported
}

// Cancel ends the job without a result.
func (n *Node) Cancel(ctx context.Context, job protocol.CID) error { return errors.ErrUnsupported }
