package protocol

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

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

func (k FailKind) known() bool {
	switch k {
	case FailExit, FailTrap, FailMemory, FailTime, FailOutput, FailRecord, FailLoad, FailHost, FailInput:
		return true
	}
	return false
}

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
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := verify(domainFact, s, f.By); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return &f, nil
}

func (f *Fact) check() error {
	switch f.Kind {
	case Committed, FailedRun, Final, Failed, Cancelled:
	default:
		return fmt.Errorf("%w: a fact of an unknown kind", ErrReceipt)
	}
	if !f.Job.Defined() || len(f.Text) > MaxText || f.Copies < 0 || f.Copies > MaxCopies || !timeBounded(f.At) || (f.Kind == FailedRun) != (f.Run != nil) || (f.Kind == Final) != f.Root.Defined() {
		return fmt.Errorf("%w: a malformed %q", ErrReceipt, f.Kind)
	}
	if f.Run != nil && (len(f.Run.Tail) > MaxTail || len(f.Run.Text) > MaxText || !f.Run.Kind.known() || !f.Run.Task.valid()) {
		return fmt.Errorf("%w: a malformed failure", ErrReceipt)
	}
	return nil
}
