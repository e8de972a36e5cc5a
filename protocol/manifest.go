package protocol

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// ManifestVersion is the version this program writes; it stewards no other.
const ManifestVersion = 1

// ErrManifest is returned for a manifest that is malformed, unsigned or out of
// bounds.
var ErrManifest = errors.New("bad manifest")

// Mode says what two different results of one task mean.
type Mode string

const (
	// Strict tasks are deterministic: two different results prove a fault.
	Strict Mode = "strict"
	// Provenance tasks may differ from run to run: each root is consistent in
	// itself, and the lowest one is canonical.
	Provenance Mode = "provenance"
)

// Manifest is the immutable description of a job. The CID of its signed form
// is the job's ID. It has no per-task data: the splits are in a table of their
// own.
type Manifest struct {
	Version   uint      `cbor:"version"`
	Nonce     []byte    `cbor:"nonce"` // 16 random bytes: two equal jobs are two jobs
	Submitter peer.ID   `cbor:"submitter"`
	Name      string    `cbor:"name"`
	Inputs    []CID     `cbor:"inputs"` // roots that the job references
	Splits    CID       `cbor:"splits"` // the table of what each first task reads
	Bytes     int64     `cbor:"bytes"`  // of all inputs, for people
	Stages    []Stage   `cbor:"stages"`
	Copies    int       `cbor:"copies"`
	Mode      Mode      `cbor:"mode"`
	Limits    Limits    `cbor:"limits"`
	Policy    Policy    `cbor:"policy"`
	Require   Require   `cbor:"require"`
	Env       []string  `cbor:"env,omitempty"` // NAME=VALUE, of every program
	Created   time.Time `cbor:"created"`
	RunUntil  time.Time `cbor:"run_until"`
	KeepUntil time.Time `cbor:"keep_until"`
}

// Limits bound one task.
type Limits struct {
	Memory  int64         `cbor:"memory"`  // bytes
	Log     int64         `cbor:"log"`     // bytes kept, half from each end
	Output  int64         `cbor:"output"`  // bytes
	Timeout time.Duration `cbor:"timeout"` // of one program's run
}

// StageKind says what a task of a stage reads and gives.
type StageKind string

const (
	// MapStage: task i reads split i. Without partitions it gives a file;
	// with them, a sorted shuffle file (see Shuffle).
	MapStage StageKind = "map"
	// MergeStage: task i merges shuffle files i*MergeArity and following of
	// the stage before into one, through the combiner.
	MergeStage StageKind = "merge"
	// ReduceStage: task p merges partition p of all shuffle files of the stage
	// before and gives a file.
	ReduceStage StageKind = "reduce"
	// ConcatStage: task i makes one file of the files i*ConcatWidth and
	// following of the stage before, by linking to them.
	ConcatStage StageKind = "concat"
)

// Stage is a set of like tasks. The first stage reads the splits; each other
// one reads the results of the stage before it. The last one has one task,
// whose result is the job's root.
type Stage struct {
	Name       string    `cbor:"name"`
	Kind       StageKind `cbor:"kind"`
	Tasks      int       `cbor:"tasks"`
	Program    *Program  `cbor:"program,omitempty"`
	Combine    *Program  `cbor:"combine,omitempty"`
	Partitions int       `cbor:"partitions,omitempty"`
}

// ProgramKind says how a program is run.
type ProgramKind string

const (
	Wasm ProgramKind = "wasm" // a WASI preview 1 module
	Exec ProgramKind = "exec" // a command for sh -c
	Func ProgramKind = "func" // a Go function registered by name
)

// Program is what a task runs: a split on standard input, records on standard
// output.
type Program struct {
	Kind    ProgramKind `cbor:"kind"`
	Module  CID         `cbor:"module"`            // Wasm
	Command string      `cbor:"command,omitempty"` // Exec
	Func    string      `cbor:"func,omitempty"`    // Func: NAME@VERSION
	Files   []File      `cbor:"files,omitempty"`   // laid in the task's folder
}

// File is a file that travels with a program.
type File struct {
	Name string `cbor:"name"` // a base name
	CID  CID    `cbor:"cid"`
	Exec bool   `cbor:"exec,omitempty"` // has the executable bit
}

// Signed is a document and its author's signature over exactly these bytes.
type Signed struct {
	Body []byte `cbor:"body"`
	Sig  []byte `cbor:"sig"`
}

// What is signed is prefixed with what it is, so that no signature can be
// taken for one over something else.
const (
	domainManifest = "meshnode manifest 1\n"
	domainReceipts = "meshnode receipts 1\n"
	domainFact     = "meshnode fact 1\n"
)

// SignManifest returns the manifest's signed form, whose NewCID under
// CodecDagCBOR is the job's ID. m.Submitter is set from the key.
func SignManifest(m Manifest, key crypto.PrivKey) ([]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("signing a manifest: %w", err)
	}
	m.Submitter = id
	signed, err := sign(domainManifest, Encode(m), key)
	if err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	doc := Encode(signed)
	if len(doc) > MaxManifest {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrManifest, len(doc), MaxManifest)
	}
	return doc, nil
}

// JobID is the ID of the job that the signed manifest doc describes.
func JobID(doc []byte) CID { return NewCID(CodecDagCBOR, doc) }

// OpenManifest decodes and checks a signed manifest: its signature and every
// bound. It fails with ErrManifest.
func OpenManifest(doc []byte) (*Manifest, error) {
	if len(doc) > MaxManifest {
		return nil, fmt.Errorf("%w: %d bytes", ErrManifest, len(doc))
	}
	var signed Signed
	var m Manifest
	if err := Decode(doc, &signed); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if err := Decode(signed.Body, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if err := verify(domainManifest, signed, m.Submitter); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrManifest, err)
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

func (m *Manifest) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, args...))
	}
	switch {
	case m.Version != ManifestVersion:
		return bad("version %d, this node knows %d", m.Version, ManifestVersion)
	case m.Policy.check() != nil:
		return bad("%v", m.Policy.check())
	case m.Require.check() != nil:
		return bad("%v", m.Require.check())
	case checkEnv(m.Env) != nil:
		return bad("%v", checkEnv(m.Env))
	case len(m.Nonce) != 16:
		return bad("a nonce of %d bytes", len(m.Nonce))
	case len(m.Name) > MaxName:
		return bad("a name of %d bytes", len(m.Name))
	case len(m.Inputs) > MaxInputs:
		return bad("%d inputs, at most %d", len(m.Inputs), MaxInputs)
	case len(m.Stages) == 0 || len(m.Stages) > MaxStages:
		return bad("%d stages", len(m.Stages))
	case m.Copies < 1 || m.Copies > MaxCopies:
		return bad("%d copies, 1 to %d", m.Copies, MaxCopies)
	case m.Mode != Strict && m.Mode != Provenance:
		return bad("mode %q", m.Mode)
	case m.Limits.Memory < 1 || m.Limits.Log < 0 || m.Limits.Output < 0 || m.Limits.Timeout < 1:
		return bad("limits %+v", m.Limits)
	case m.KeepUntil.Before(m.RunUntil) || m.RunUntil.Before(m.Created):
		return bad("its times are out of order")
	case !timeBounded(m.Created) || !timeBounded(m.KeepUntil):
		return bad("its times are out of bounds")
	case m.KeepUntil.Sub(m.Created) > MaxLife+time.Second: // times lose digits on the way
		return bad("it is kept for %v after its creation, at most %v", m.KeepUntil.Sub(m.Created), MaxLife)
	case !m.Splits.Defined() || m.Bytes < 0 || m.Bytes > MaxBytes:
		return bad("no split table")
	case slices.Contains(m.Inputs, ""):
		return bad("an input without a CID")
	}
	for i, s := range m.Stages {
		if err := s.check(i, m.Stages); err != nil {
			return bad("stage %d: %v", i, err)
		}
	}
	if last := m.Stages[len(m.Stages)-1]; last.Tasks != 1 || last.Kind != ConcatStage {
		return bad("the last stage must be one concat task")
	}
	return nil
}

func (s *Stage) check(i int, stages []Stage) error {
	if s.Tasks < 1 || s.Tasks > MaxTasks {
		return fmt.Errorf("%d tasks, 1 to %d", s.Tasks, MaxTasks)
	}
	if s.Partitions < 0 || s.Partitions > MaxPartitions || len(s.Name) > MaxName {
		return fmt.Errorf("%d partitions, at most %d", s.Partitions, MaxPartitions)
	}
	if (i == 0) != (s.Kind == MapStage) {
		return fmt.Errorf("a %s stage in place %d", s.Kind, i)
	}
	if i > 0 {
		before := stages[i-1]
		want, shuffled := 0, false
		switch s.Kind {
		case MergeStage:
			want, shuffled = ceilDiv(before.Tasks, MergeArity), true
			if s.Partitions != before.Partitions {
				return errors.New("a merge changes the number of partitions")
			}
		case ReduceStage:
			want, shuffled = before.Partitions, true
			if before.Tasks > MaxInputs { // no award could name them
				return fmt.Errorf("it reads %d shuffle files, at most %d; merge them first", before.Tasks, MaxInputs)
			}
		case ConcatStage:
			want = ceilDiv(before.Tasks, ConcatWidth)
		default:
			return fmt.Errorf("unknown kind %q", s.Kind)
		}
		if s.Tasks != want || shuffled != (before.Partitions > 0) {
			return fmt.Errorf("a %s stage of %d tasks after %d tasks with %d partitions", s.Kind, s.Tasks, before.Tasks, before.Partitions)
		}
	}
	needs := s.Kind == MapStage || s.Kind == ReduceStage
	if needs != (s.Program != nil) {
		return fmt.Errorf("a %s stage with program: %v", s.Kind, s.Program != nil)
	}
	if (s.Kind == ReduceStage || s.Kind == ConcatStage) && (s.Partitions > 0 || s.Combine != nil) {
		return fmt.Errorf("a %s stage is not partitioned", s.Kind)
	}
	for _, p := range []*Program{s.Program, s.Combine} {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func (p *Program) check() error {
	if p == nil {
		return nil
	}
	switch {
	case p.Kind == Wasm && p.Module.Defined():
	case p.Kind == Exec && p.Command != "" && len(p.Command) <= 64<<10:
	case p.Kind == Func && p.Func != "" && len(p.Func) <= MaxName:
	default:
		return fmt.Errorf("a program of kind %q without its content", p.Kind)
	}
	if len(p.Files) > MaxFiles {
		return fmt.Errorf("%d files, at most %d", len(p.Files), MaxFiles)
	}
	names := map[string]bool{}
	for _, f := range p.Files {
		if !plainName(f.Name) || !f.CID.Defined() {
			return fmt.Errorf("a file named %q", f.Name)
		}
		if names[f.Name] {
			return fmt.Errorf("two files named %q", f.Name)
		}
		names[f.Name] = true
	}
	return nil
}

// plainName reports whether name is a base name that stays in its folder.
func plainName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return false
	}
	for _, r := range name {
		if r == '/' || r == '\\' || r == 0 {
			return false
		}
	}
	return true
}

// Closure returns the roots that must be held for the job to be runnable:
// inputs, split table, programs and their files, each once.
func (m *Manifest) Closure() []CID {
	seen := map[CID]bool{}
	var out []CID
	add := func(c CID) {
		if c.Defined() && !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	for _, c := range m.Inputs {
		add(c)
	}
	add(m.Splits)
	for _, s := range m.Stages {
		for _, p := range []*Program{s.Program, s.Combine} {
			if p == nil {
				continue
			}
			add(p.Module)
			for _, f := range p.Files {
				add(f.CID)
			}
		}
	}
	return out
}

// Tasks is the number of tasks of all stages.
func (m *Manifest) Tasks() int {
	n := 0
	for _, s := range m.Stages {
		n += s.Tasks
	}
	return n
}

func sign(domain string, body []byte, key crypto.PrivKey) (Signed, error) {
	sig, err := key.Sign(append([]byte(domain), body...))
	if err != nil {
		return Signed{}, fmt.Errorf("signing: %w", err)
	}
	return Signed{Body: body, Sig: sig}, nil
}

// errSignature is wrapped by every failed check of a signature.
var errSignature = errors.New("the signature does not hold")

func verify(domain string, s Signed, author peer.ID) error {
	key, err := author.ExtractPublicKey()
	if err != nil {
		return fmt.Errorf("%w: %w", errSignature, err)
	}
	ok, err := key.Verify(append([]byte(domain), s.Body...), s.Sig)
	if err != nil || !ok {
		return errSignature
	}
	return nil
}
