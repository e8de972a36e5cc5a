package protocol

import (
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

// SignedReceipt is a receipt as it travels: one signature covers the size and
// the Merkle root of a batch, and each receipt carries its path to that root.
type SignedReceipt struct {
	Body  []byte   `cbor:"1,keyasint"`
	Index int      `cbor:"2,keyasint"`
	Path  []Digest `cbor:"3,keyasint"`
	Sig   []byte   `cbor:"4,keyasint"`
	Block []byte   `cbor:"5,keyasint,omitempty"`
	Of    int      `cbor:"6,keyasint"` // receipts in the batch
}

// SignReceipts signs up to MaxReceiptBatch receipts of one worker at once.
func SignReceipts(receipts []Receipt, key crypto.PrivKey) ([]SignedReceipt, error) {
	if len(receipts) == 0 || len(receipts) > MaxReceiptBatch {
		return nil, fmt.Errorf("%w: a batch of %d", ErrReceipt, len(receipts))
	}
	out := make([]SignedReceipt, len(receipts))
	leaves := make([]Digest, len(receipts))
	for i, r := range receipts {
		out[i] = SignedReceipt{Body: Encode(r), Index: i, Of: len(receipts), Block: r.Block}
		leaves[i] = leafHash(out[i].Body)
	}
	root, paths := merkle(leaves)
	signed, err := sign(domainReceipts, batchBody(len(receipts), root), key)
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
	all, err := OpenReceipts([]SignedReceipt{*s})
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// OpenReceipts opens them all, and checks the signature of each batch among
// them once. It fails with ErrReceipt if any is bad.
func OpenReceipts(signed []SignedReceipt) ([]*Receipt, error) {
	type batch struct{ worker, body, sig string }
	checked := map[batch]bool{}
	out := make([]*Receipt, len(signed))
	for i, s := range signed {
		r, body, err := s.unverified()
		if err != nil {
			return nil, err
		}
		of := batch{string(r.Worker), string(body), string(s.Sig)}
		if !checked[of] {
			if err := verify(domainReceipts, Signed{Body: body, Sig: s.Sig}, r.Worker); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
			}
			checked[of] = true
		}
		out[i] = r
	}
	return out, nil
}

// unverified returns the receipt once all but its signature is checked, and
// what that signature has to cover.
func (s *SignedReceipt) unverified() (*Receipt, []byte, error) {
	var r Receipt
	if len(s.Body) > MaxTail || len(s.Block) > MaxInline || s.Of > MaxReceiptBatch {
		return nil, nil, fmt.Errorf("%w: out of bounds", ErrReceipt)
	}
	if err := Decode(s.Body, &r); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	if !r.Job.Defined() || !r.Result.Defined() || r.Size < 0 || r.Took < 0 || !r.Task.valid() {
		return nil, nil, fmt.Errorf("%w: out of bounds", ErrReceipt)
	}
	if len(s.Block) > 0 && !r.Result.Verify(s.Block) {
		return nil, nil, fmt.Errorf("%w: its block is not its result", ErrReceipt)
	}
	root, ok := climb(leafHash(s.Body), s.Index, s.Of, s.Path)
	if !ok {
		return nil, nil, fmt.Errorf("%w: its path does not fit its batch", ErrReceipt)
	}
	r.Block = s.Block
	return &r, batchBody(s.Of, root), nil
}

func (k Key) valid() bool {
	return k.Stage >= 0 && k.Stage < MaxStages && k.Index >= 0 && k.Index < MaxTasks
}
