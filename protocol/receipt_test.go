package protocol

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

// testReceipts returns n receipts of a worker, every third with its block.
func testReceipts(worker peer.ID, n int) []Receipt {
	out := make([]Receipt, n)
	for i := range out {
		block := fmt.Appendf(nil, "result %d", i)
		out[i] = Receipt{
			Job: link("job"), Task: Key{Stage: 1, Index: i}, Inputs: InputsDigest(i, []CID{link("in")}),
			Result: NewCID(CodecRaw, block), Size: int64(len(block)), Worker: worker, Took: time.Duration(i) * time.Millisecond,
		}
		if i%3 == 0 {
			out[i].Block = block
		}
	}
	return out
}

func signReceipts(t testing.TB, receipts []Receipt, key crypto.PrivKey) []SignedReceipt {
	t.Helper()
	signed, err := SignReceipts(receipts, key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestReceiptsOfEveryBatchSize(t *testing.T) {
	key, worker := testKey(t, 1)
	for n := 1; n <= MaxReceiptBatch; n++ {
		receipts := testReceipts(worker, n)
		for i, s := range signReceipts(t, receipts, key) {
			var arrived SignedReceipt
			if err := Decode(Encode(s), &arrived); err != nil {
				t.Fatal(err)
			}
			got, err := arrived.Open()
			if err != nil {
				t.Fatalf("receipt %d of %d: %v", i, n, err)
			}
			if !reflect.DeepEqual(*got, receipts[i]) {
				t.Fatalf("receipt %d of %d arrives as %+v", i, n, got)
			}
		}
	}
}

func TestBatchesAreBounded(t *testing.T) {
	key, worker := testKey(t, 1)
	for _, n := range []int{0, MaxReceiptBatch + 1} {
		if _, err := SignReceipts(testReceipts(worker, n), key); !errors.Is(err, ErrReceipt) {
			t.Errorf("a batch of %d: %v", n, err)
		}
	}
}

// TestAlteredReceiptsAreRefused flips a bit in every byte of every part.
func TestAlteredReceiptsAreRefused(t *testing.T) {
	key, worker := testKey(t, 1)
	refused := func(what string, s SignedReceipt) {
		t.Helper()
		if r, err := s.Open(); !errors.Is(err, ErrReceipt) || r != nil {
			t.Errorf("%s: opens to %+v, %v", what, r, err)
		}
	}
	for _, n := range []int{1, 2, 3, 7, 64} {
		for i, s := range signReceipts(t, testReceipts(worker, n), key) {
			if i != 0 && i != n/2 && i != n-1 {
				continue
			}
			what := fmt.Sprintf("receipt %d of %d, ", i, n)
			with := func(change func(*SignedReceipt)) SignedReceipt {
				altered := s
				change(&altered)
				return altered
			}
			eachFlip(s.Body, func(at int, b []byte) {
				refused(fmt.Sprint(what, "body byte ", at), with(func(a *SignedReceipt) { a.Body = b }))
			})
			eachFlip(s.Sig, func(at int, b []byte) {
				refused(fmt.Sprint(what, "signature byte ", at), with(func(a *SignedReceipt) { a.Sig = b }))
			})
			eachFlip(s.Block, func(at int, b []byte) {
				refused(fmt.Sprint(what, "block byte ", at), with(func(a *SignedReceipt) { a.Block = b }))
			})
			for step, d := range s.Path {
				eachFlip(d[:], func(at int, b []byte) {
					path := append([]Digest(nil), s.Path...)
					path[step] = Digest(b)
					refused(fmt.Sprint(what, "path step ", step, " byte ", at), with(func(a *SignedReceipt) { a.Path = path }))
				})
			}
			for other := -1; other <= MaxReceiptBatch; other++ {
				if other != i {
					refused(fmt.Sprint(what, "index ", other), with(func(a *SignedReceipt) { a.Index = other }))
				}
				if other != n {
					refused(fmt.Sprint(what, "batch of ", other), with(func(a *SignedReceipt) { a.Of = other }))
				}
			}
			refused(what+"a longer path", with(func(a *SignedReceipt) { a.Path = append(a.Path[:len(a.Path):len(a.Path)], Digest{}) }))
			if n > 1 {
				refused(what+"a shorter path", with(func(a *SignedReceipt) { a.Path = a.Path[1:] }))
			}
		}
	}
}

func TestReceiptsOutOfBoundsAreRefused(t *testing.T) {
	key, worker := testKey(t, 1)
	_, stranger := testKey(t, 2)
	for name, change := range map[string]func(*Receipt){
		"no job":               func(r *Receipt) { r.Job = "" },
		"no result":            func(r *Receipt) { r.Result = "" },
		"a negative size":      func(r *Receipt) { r.Size = -1 },
		"a negative time":      func(r *Receipt) { r.Took = -1 },
		"a negative stage":     func(r *Receipt) { r.Task.Stage = -1 },
		"a stage too many":     func(r *Receipt) { r.Task.Stage = MaxStages },
		"a negative task":      func(r *Receipt) { r.Task.Index = -1 },
		"a task too many":      func(r *Receipt) { r.Task.Index = MaxTasks },
		"another worker":       func(r *Receipt) { r.Worker = stranger },
		"no worker":            func(r *Receipt) { r.Worker = "" },
		"another block":        func(r *Receipt) { r.Block = []byte("not it") },
		"a block that is huge": func(r *Receipt) { r.Block = make([]byte, MaxInline+1); r.Result = NewCID(CodecRaw, r.Block) },
	} {
		receipts := testReceipts(worker, 1)
		change(&receipts[0])
		if _, err := signReceipts(t, receipts, key)[0].Open(); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestInputsDigestTellsApart(t *testing.T) {
	a, b := link("a"), link("b")
	seen := map[Digest]string{}
	for name, d := range map[string]Digest{
		"nothing":       InputsDigest(0, nil),
		"one":           InputsDigest(0, []CID{a}),
		"another index": InputsDigest(1, []CID{a}),
		"two":           InputsDigest(0, []CID{a, b}),
		"another order": InputsDigest(0, []CID{b, a}),
	} {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
}

func TestKeysSortByStageThenIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) Key {
			return Key{Stage: rapid.IntRange(0, 3).Draw(t, label+" stage"), Index: rapid.IntRange(0, 3).Draw(t, label+" index")}
		}
		a, b := draw("a"), draw("b")
		less := a.Stage < b.Stage || a.Stage == b.Stage && a.Index < b.Index
		if got := a.Compare(b); (got < 0) != less || (got == 0) != (a == b) {
			t.Fatalf("%s.Compare(%s) = %d", a, b, got)
		}
	})
}

// TestOneBadReceiptSpoilsTheBatch holds that sharing a signature's check lets
// nothing pass that would not pass alone.
func TestOneBadReceiptSpoilsTheBatch(t *testing.T) {
	key, worker := testKey(t, 1)
	other, otherWorker := testKey(t, 2)
	honest := signReceipts(t, testReceipts(worker, 4), key)
	forged := signReceipts(t, testReceipts(worker, 4), other) // says that another signed
	mixed := append(signReceipts(t, testReceipts(otherWorker, 3), other), honest...)
	if got, err := OpenReceipts(mixed); err != nil || len(got) != 7 || got[6].Worker != worker {
		t.Errorf("two batches of two workers: %v, %v", got, err)
	}
	altered := testReceipts(worker, 4)
	altered[1].Size++
	borrowed := signReceipts(t, altered, key)[1]
	borrowed.Sig = honest[0].Sig
	for name, bad := range map[string]SignedReceipt{"another's signature": forged[1], "a borrowed signature": borrowed, "no signature": {Body: honest[0].Body, Of: 1}} {
		for at := range honest {
			all := append([]SignedReceipt(nil), honest...)
			all[at] = bad
			if got, err := OpenReceipts(all); !errors.Is(err, ErrReceipt) || got != nil {
				t.Errorf("%s in place %d: %v, %v", name, at, got, err)
			}
		}
	}
}

func FuzzReceiptOpen(f *testing.F) {
	key, worker := testKey(f, 1)
	for _, s := range signReceipts(f, testReceipts(worker, 3), key) {
		f.Add(Encode(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var s SignedReceipt
		if Decode(b, &s) != nil {
			return
		}
		r, err := s.Open()
		if err == nil && (!r.Task.valid() || !r.Job.Defined() || r.Size < 0) {
			t.Fatalf("opens to %+v", r)
		}
	})
}
