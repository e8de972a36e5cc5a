package protocol

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrReceipt is returned for a receipt or fact that is malformed or whose
// signature does not hold.
var ErrReceipt = errors.New("bad receipt")

// Key names a task within its job.
type Key struct {
	_     struct{} `cbor:",toarray"`
	Stage int
	Index int
}

// Compare orders keys by stage, then index.
func (k Key) Compare(o Key) int {
	if k.Stage != o.Stage {
		return k.Stage - o.Stage
	}
	return k.Index - o.Index
}

// String is the form that people read: "1/42" is task 42 of stage 1.
func (k Key) String() string { return fmt.Sprintf("%d/%d", k.Stage, k.Index) }

// Digest is a SHA2-256 hash.
type Digest [sha256.Size]byte

// Receipt says that a worker ran a task and what it gave.
type Receipt struct {
	Job    CID           `cbor:"1,keyasint"`
	Task   Key           `cbor:"2,keyasint"`
	Inputs Digest        `cbor:"3,keyasint"` // of the task's inputs, see InputsDigest
	Result CID           `cbor:"4,keyasint"`
	Size   int64         `cbor:"5,keyasint"` // bytes of content behind Result
	Log    CID           `cbor:"6,keyasint"` // the zero CID for an empty log
	Worker peer.ID       `cbor:"7,keyasint"`
	Took   time.Duration `cbor:"8,keyasint"`
	// Block is the content of Result when that is a single small block. It is
	// not signed: Result already names it.
	Block []byte `cbor:"-"`
}

// InputsDigest is the digest of what a task reads: the CIDs in their order and
// the task's index, since tasks of one stage may share their inputs.
func InputsDigest(index int, inputs []CID) Digest {
	return sha256.Sum256(Encode(struct {
		_      struct{} `cbor:",toarray"`
		Index  int
		Inputs []CID
	}{Index: index, Inputs: inputs}))
}

// SignedReceipt is a receipt as it travels: one signature covers the Merkle
// root of a batch, and each receipt carries its path to that root.
type SignedReceipt struct {
	Body  []byte   `cbor:"1,keyasint"`
	Index int      `cbor:"2,keyasint"`
	Path  []Digest `cbor:"3,keyasint"`
	Sig   []byte   `cbor:"4,keyasint"`
	Block []byte   `cbor:"5,keyasint,omitempty"`
}

// SignReceipts signs up to MaxReceiptBatch receipts of one worker at once.
func SignReceipts(receipts []Receipt, key crypto.PrivKey) ([]SignedReceipt, error) {
	if len(receipts) == 0 || len(receipts) > MaxReceiptBatch {
		return nil, fmt.Errorf("%w: a batch of %d", ErrReceipt, len(receipts))
	}
	out := make([]SignedReceipt, len(receipts))
	leaves := make([]Digest, len(receipts))
	for i, r := range receipts {
		out[i] = SignedReceipt{Body: Encode(r), Index: i, Block: r.Block}
		leaves[i] = leafHash(out[i].Body)
	}
	root, paths := merkle(leaves)
	signed, err := sign(domainReceipts, root[:], key)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].Path, out[i].Sig = paths[i], signed.Sig
	}
	return out, nil
}

// Open checks a receipt's bounds, signature and block, and returns it. It
// fails with ErrReceipt.
func (s *SignedReceipt) Open() (*Receipt, error) {
	var r Receipt
	if len(s.Body) > MaxTail || len(s.Path) > 6 || len(s.Block) > MaxInline || s.Index < 0 || s.Index >= MaxReceiptBatch {
		return nil, fmt.Errorf("%w: out of bounds", ErrReceipt)
	}
	if err := Decode(s.Body, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if !r.Job.Defined() || !r.Result.Defined() || r.Size < 0 || r.Took < 0 || !r.Task.valid() {
		return nil, fmt.Errorf("%w: out of bounds", ErrReceipt)
	}
	if len(s.Block) > 0 && !r.Result.Verify(s.Block) {
		return nil, fmt.Errorf("%w: its block is not its result", ErrReceipt)
	}
	root := climb(leafHash(s.Body), s.Index, s.Path)
	if err := verify(domainReceipts, Signed{Body: root[:], Sig: s.Sig}, r.Worker); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	r.Block = s.Block
	return &r, nil
}

func (k Key) valid() bool {
	return k.Stage >= 0 && k.Stage < MaxStages && k.Index >= 0 && k.Index < MaxTasks
}

// A Merkle tree over 1 to 64 leaves. Leaves and nodes are hashed under
// different prefixes (RFC 9162, section 2.1); a node without a sibling moves up
// unchanged, so a path has no step for it: its place is marked by the zero
// digest.
func leafHash(b []byte) Digest { return sha256.Sum256(append([]byte{0}, b...)) }

func nodeHash(l, r Digest) Digest {
	return sha256.Sum256(bytes.Join([][]byte{{1}, l[:], r[:]}, nil))
}

func merkle(level []Digest) (root Digest, paths [][]Digest) {
	paths = make([][]Digest, len(level))
	at := make([]int, len(level)) // where each leaf's ancestor stands now
	for i := range at {
		at[i] = i
	}
	for len(level) > 1 {
		for i, a := range at {
			var sibling Digest
			if a^1 < len(level) {
				sibling = level[a^1]
			}
			paths[i], at[i] = append(paths[i], sibling), a/2
		}
		up := level[:0:0]
		for i := 0; i < len(level); i += 2 {
			if i+1 < len(level) {
				up = append(up, nodeHash(level[i], level[i+1]))
			} else {
				up = append(up, level[i])
			}
		}
		level = up
	}
	return level[0], paths
}

func climb(h Digest, index int, path []Digest) Digest {
	for _, sibling := range path {
		switch {
		case sibling == Digest{}:
		case index%2 == 0:
			h = nodeHash(h, sibling)
		default:
			h = nodeHash(sibling, h)
		}
		index /= 2
	}
	return h
}

// FactKind says what a Fact states.
type FactKind string

const (
	// Committed: its author verified that the job can run without its
	// submitter.
	Committed FactKind = "committed"
	// FailedRun: its author ran the task and it failed.
	FailedRun FactKind = "failed-run"
	// Final: its author verified enough holders of the whole root.
	Final FactKind = "final"
	// Failed: the job cannot succeed.
	Failed FactKind = "failed"
	// Cancelled: the submitter, or a member that may administer, ended it.
	Cancelled FactKind = "cancelled"
)

// FailKind says why a run of a task failed.
type FailKind string

const (
	// These are evidence: the program would fail the same way elsewhere.
	FailExit   FailKind = "exit"    // a non-zero exit status
	FailTrap   FailKind = "trap"    // the guest or process was ended by a fault
	FailMemory FailKind = "memory"  // beyond the task's own memory limit
	FailTime   FailKind = "timeout" // beyond the task's own time limit
	FailOutput FailKind = "output"  // beyond the task's own output limit
	FailRecord FailKind = "record"  // what it printed is not records
	FailLoad   FailKind = "load"    // the program itself cannot be loaded
	// These are the host's troubles: another node may succeed.
	FailHost  FailKind = "host"  // memory, disk, or the pool of processes
	FailInput FailKind = "input" // an input could not be read from anyone
)

// Deterministic reports whether the same failure is to be expected elsewhere.
func (k FailKind) Deterministic() bool { return k != FailHost && k != FailInput }

// Failure is how a run of a task failed.
type Failure struct {
	Task   Key      `cbor:"1,keyasint"`
	Inputs Digest   `cbor:"2,keyasint"`
	Kind   FailKind `cbor:"3,keyasint"`
	Code   int      `cbor:"4,keyasint"` // exit status, where Kind is FailExit
	Text   string   `cbor:"5,keyasint"` // one line for people
	Tail   []byte   `cbor:"6,keyasint"` // the end of the task's log
	Log    CID      `cbor:"7,keyasint"`
	Lost   CID      `cbor:"8,keyasint"` // the input, where Kind is FailInput
}

// Fact is a statement about a job as a whole, or about a failed run of one of
// its tasks. Like receipts, facts are only ever added.
type Fact struct {
	Job  CID       `cbor:"1,keyasint"`
	Kind FactKind  `cbor:"2,keyasint"`
	By   peer.ID   `cbor:"3,keyasint"`
	At   time.Time `cbor:"4,keyasint"`
	Root CID       `cbor:"5,keyasint"` // Final
	Text string    `cbor:"6,keyasint"` // Failed, Cancelled: why
	Run  *Failure  `cbor:"7,keyasint"` // FailedRun
	// Copies is with how many verified copies the job was committed or ended.
	Copies int `cbor:"8,keyasint"`
}

// SignFact signs f; f.By is set from the key.
func SignFact(f Fact, key crypto.PrivKey) (Signed, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return Signed{}, fmt.Errorf("signing a fact: %w", err)
	}
	f.By = id
	return sign(domainFact, Encode(f), key)
}

// OpenFact checks a fact's bounds and signature and returns it. It fails with
// ErrReceipt.
func OpenFact(s Signed) (*Fact, error) {
	var f Fact
	if len(s.Body) > 4*MaxText {
		return nil, fmt.Errorf("%w: a fact of %d bytes", ErrReceipt, len(s.Body))
	}
	if err := Decode(s.Body, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if !f.Job.Defined() || len(f.Text) > MaxText || (f.Kind == FailedRun) != (f.Run != nil) || (f.Kind == Final) != f.Root.Defined() {
		return nil, fmt.Errorf("%w: a malformed %q", ErrReceipt, f.Kind)
	}
	if f.Run != nil && (len(f.Run.Tail) > MaxTail || len(f.Run.Text) > MaxText || !f.Run.Task.valid()) {
		return nil, fmt.Errorf("%w: a malformed failure", ErrReceipt)
	}
	if err := verify(domainFact, s, f.By); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return &f, nil
}
