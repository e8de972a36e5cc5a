package node

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/meshnode/meshnode/protocol"
)

// frames are messages as they travel.
func frames(messages ...protocol.Message) []byte {
	var out bytes.Buffer
	for _, m := range messages {
		_ = protocol.WriteFrame(&out, protocol.EncodeMessage(m)) // a buffer takes everything
	}
	return out.Bytes()
}

// TestHostileMessages has a member that may work say everything that it should
// not.
func TestHostileMessages(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	stranger, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	unknown := protocol.NewCID(protocol.CodecDagCBOR, []byte("no job"))
	nowhere, task := protocol.Key{Stage: protocol.MaxStages - 1}, protocol.Key{}
	bent := h.receipt(t, job, task, h.Key())
	bent.Sig = bytes.Repeat([]byte{1}, len(bent.Sig))
	full := make([][]byte, protocol.MaxStages)
	for i := range full {
		full[i] = bytes.Repeat([]byte{255}, protocol.MaxTasks/8)
	}
	fact := func(f protocol.Fact) *protocol.Done {
		f.Job = job
		return &protocol.Done{Job: job, Number: 1, Facts: []protocol.Signed{h.fact(t, f)}}
	}
	done := func(r protocol.SignedReceipt) *protocol.Done {
		return &protocol.Done{Job: job, Number: 1, Receipts: []protocol.SignedReceipt{r}}
	}
	for name, c := range map[string]struct {
		cause Refusal
		bytes []byte
	}{
		"noise":                           {RefusedMalformed, []byte("\x05hello")},
		"a frame of a terabyte":           {RefusedBounds, []byte{255, 255, 255, 255, 255, 31}},
		"an unknown kind":                 {RefusedMalformed, []byte{1, 200}},
		"an offer of a billion tasks":     {RefusedBounds, frames(&protocol.Offer{Job: job, Tasks: 1 << 30})},
		"claims of negative tasks":        {RefusedBounds, frames(&protocol.Ping{Claims: []protocol.Claim{{Job: job, Tasks: []protocol.Key{{Index: -1}}}}})},
		"a bitmap beyond all tasks":       {RefusedBounds, frames(&protocol.Announce{Job: job, Have: [][]byte{make([]byte, protocol.MaxTasks/8+1)}})},
		"bitmaps of an unknown job":       {RefusedJob, frames(&protocol.Announce{Job: unknown, Have: full[:8], Reply: true})},
		"a bid for an unknown job":        {RefusedJob, frames(&protocol.Bid{Job: unknown, Tasks: 1})},
		"an award of an unknown job":      {RefusedJob, frames(&protocol.Award{Job: unknown, Tasks: []protocol.Awarded{{}}})},
		"an award of an unknown task":     {RefusedTask, frames(&protocol.Award{Job: job, Tasks: []protocol.Awarded{{Task: nowhere}}})},
		"loot of an unknown job":          {RefusedJob, frames(&protocol.Loot{Job: unknown, Tasks: []protocol.Awarded{{}}})},
		"loot of an unknown task":         {RefusedTask, frames(&protocol.Loot{Job: job, Tasks: []protocol.Awarded{{Task: nowhere}}})},
		"a receipt of an unknown job":     {RefusedJob, frames(&protocol.Done{Job: unknown, Receipts: []protocol.SignedReceipt{h.receipt(t, unknown, task, h.Key())}})},
		"a receipt of another job":        {RefusedSignature, frames(done(h.receipt(t, unknown, task, h.Key())))},
		"a receipt of an unknown stage":   {RefusedTask, frames(done(h.receipt(t, job, nowhere, h.Key())))},
		"a receipt of an unknown task":    {RefusedTask, frames(done(h.receipt(t, job, protocol.Key{Index: protocol.MaxTasks - 1}, h.Key())))},
		"a receipt by a stranger":         {RefusedSigner, frames(done(h.receipt(t, job, task, stranger)))},
		"a receipt with a bent seal":      {RefusedSignature, frames(done(bent))},
		"a failed run of no task":         {RefusedTask, frames(fact(protocol.Fact{Kind: protocol.FailedRun, Run: &protocol.Failure{Task: nowhere, Kind: protocol.FailExit}}))},
		"a final root":                    {RefusedFinal, frames(fact(protocol.Fact{Kind: protocol.Final, Root: unknown}))},
		"a failed job":                    {RefusedFinal, frames(fact(protocol.Fact{Kind: protocol.Failed, Text: "give up"}))},
		"a commit":                        {RefusedSigner, frames(fact(protocol.Fact{Kind: protocol.Committed}))},
		"a cancel":                        {RefusedCancel, frames(fact(protocol.Fact{Kind: protocol.Cancelled}))},
		"an award of another's old job":   {RefusedExpired, frames(&protocol.Award{Job: oldJob(t, n, job), Tasks: []protocol.Awarded{{}}})},
		"two good words and a forged one": {RefusedFinal, frames(&protocol.Ping{}, &protocol.Ack{Job: unknown}, fact(protocol.Fact{Kind: protocol.Final, Root: unknown}))},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, n, job, c.cause, func() { h.writes(t, c.bytes) }) })
	}
	for _, key := range []crypto.PrivKey{stranger, h.Key()} { // of nobody, and of no task
		forged := h.receipt(t, job, task, key)
		if here, err := n.store.Has(t.Context(), protocol.NewCID(protocol.CodecRaw, forged.Block)); err != nil || here {
			t.Errorf("a forged result is kept: %v, %v", here, err)
		}
	}
	// What knows no job, and hurts nobody.
	keys := []protocol.Key{nowhere}
	h.says(t, &protocol.Steal{Slots: 1}, &protocol.Loot{Last: true}, &protocol.Lost{Job: job, Tasks: keys}, &protocol.Release{Job: job, Tasks: keys},
		&protocol.Stolen{Job: unknown, From: n.id, Tasks: keys}, &protocol.Stolen{Job: job, From: n.id, Tasks: keys},
		&protocol.Release{Job: unknown, Tasks: keys}, &protocol.Lost{Job: unknown, Tasks: keys}, &protocol.Announce{Job: job, Have: full[:16]})
	eventually(t, "the last of them has come", func() bool { return n.Status().Received["announce"] > 0 })
	if st := n.localState(t.Context(), job); st == nil || st.State.Ended() {
		t.Fatalf("the job is %+v", st)
	}
}

// oldJob is a job that has expired, whose manifest is on the node's disk.
func oldJob(t *testing.T, n *Node, like protocol.CID) protocol.CID {
	t.Helper()
	doc, err := n.store.Get(t.Context(), like)
	if err != nil {
		t.Fatal(err)
	}
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		t.Fatal(err)
	}
	m.Created, m.RunUntil, m.KeepUntil = time.Unix(1, 0), time.Unix(2, 0), time.Unix(3, 0)
	if doc, err = protocol.SignManifest(*m, n.mesh.Key()); err != nil {
		t.Fatal(err)
	}
	if err := n.keepManifest(t.Context(), doc); err != nil {
		t.Fatal(err)
	}
	return protocol.JobID(doc)
}

// TestHostileCalls is TestHostileMessages for what is answered.
func TestHostileCalls(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	old := oldJob(t, n, job)
	expired, err := n.store.Get(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := n.store.Get(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	m, err := protocol.OpenManifest(doc)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := protocol.SignManifest(*m, h.Key())
	if err != nil {
		t.Fatal(err)
	}
	bent := bytes.Clone(doc)
	bent[len(bent)-1] ^= 1
	final := h.fact(t, protocol.Fact{Job: job, Kind: protocol.Final, Root: old})
	for name, c := range map[string]struct {
		cause Refusal
		q     protocol.Request
	}{
		"nothing":                       {RefusedBounds, protocol.Request{}},
		"two at once":                   {RefusedBounds, protocol.Request{Jobs: &protocol.JobList{}, Status: &protocol.JobRef{Job: job}}},
		"a root without a name":         {RefusedBounds, protocol.Request{Held: &protocol.Held{Roots: []protocol.CID{""}}}},
		"a job that may not submit":     {RefusedSubmitter, protocol.Request{Submit: &protocol.Submit{Manifest: mine}}},
		"a job that has expired":        {RefusedExpired, protocol.Request{Submit: &protocol.Submit{Manifest: expired}}},
		"a job that was changed":        {RefusedMalformed, protocol.Request{Submit: &protocol.Submit{Manifest: bent}}},
		"a cancel of another's job":     {RefusedCancel, protocol.Request{Cancel: &protocol.Cancel{Job: job, Fact: h.fact(t, protocol.Fact{Job: job, Kind: protocol.Cancelled})}}},
		"a cancel that is a final":      {RefusedFinal, protocol.Request{Cancel: &protocol.Cancel{Job: job, Fact: final}}},
		"a commit that is a final":      {RefusedFinal, protocol.Request{Commit: &protocol.Commit{Manifest: doc, Facts: []protocol.Signed{final}}}},
		"a commit of another's old job": {RefusedExpired, protocol.Request{Commit: &protocol.Commit{Manifest: expired}}},
	} {
		t.Run(name, func(t *testing.T) {
			refuses(t, n, job, c.cause, func() {
				if a := h.calls(t, &c.q); a.Error == "" {
					t.Errorf("it was answered: %+v", a)
				}
			})
		})
	}
}

// TestThiefMustWork has a member steal that may not work.
func TestThiefMustWork(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleSubmit)
	refuses(t, n, job, RefusedSigner, func() { h.says(t, &protocol.Steal{Slots: 1, Has: n.has()}) })
	refuses(t, n, job, RefusedSigner, func() {
		h.says(t, &protocol.Done{Job: job, Receipts: []protocol.SignedReceipt{h.receipt(t, job, protocol.Key{}, h.Key())}})
	})
}

// TestReplayedReceiptCountsOnce sends a receipt again and again, alone and with
// others.
func TestReplayedReceiptCountsOnce(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	done := &protocol.Done{Job: job, Number: 1, Receipts: []protocol.SignedReceipt{h.receipt(t, job, protocol.Key{}, h.Key())}}
	for range 5 {
		h.says(t, done, done)
	}
	eventually(t, "all of them have come", func() bool { return n.Status().Received["done"] == 10 })
	eventually(t, "one counts", func() bool { return n.localState(t.Context(), job).Executions > 0 })
	var runs []protocol.TaskRun
	for _, r := range n.localRuns(t.Context(), &protocol.JobRef{Job: job}) {
		if r.Worker == h.ID() {
			runs = append(runs, r)
		}
	}
	if len(runs) != 1 {
		t.Fatalf("%d runs count", len(runs))
	}
}

// TestDamagedLedgerKeepsTheRest damages one record of a ledger on disk.
func TestDamagedLedgerKeepsTheRest(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	h := joinHostile(t, n, protocol.RoleWork)
	good := h.receipt(t, job, protocol.Key{}, h.Key())
	bent := h.receipt(t, job, protocol.Key{Index: 1}, h.Key())
	bent.Sig = good.Sig
	n.keepReceipt(job, openReceipt{good, &protocol.Receipt{}})
	n.keepReceipt(job, openReceipt{bent, &protocol.Receipt{}})
	n.keep(ledgerKey(job, "fact", []byte("noise")), []byte("noise"))
	n.keep(ledgerKey(job, "fact", []byte("no fact")), protocol.Encode(protocol.Signed{Body: []byte("no fact")}))
	o := n.keptLedger(t.Context(), job)
	if len(o.receipts) != 1 || !bytes.Equal(o.receipts[0].signed.Body, good.Body) {
		t.Errorf("%d receipts are left", len(o.receipts))
	}
	if len(o.facts) != 1 || o.facts[0].open.Kind != protocol.Committed {
		t.Errorf("%d facts are left", len(o.facts))
	}
}

func TestCauses(t *testing.T) {
	wrapped := fmt.Errorf("doing something: %w", because(RefusedFinal, protocol.ErrReceipt))
	for _, c := range []struct {
		err  error
		want Refusal
	}{
		{wrapped, RefusedFinal},
		{because(RefusedJob, wrapped), RefusedFinal},
		{protocol.ErrReceipt, RefusedSignature},
		{protocol.ErrBounds, RefusedBounds},
		{protocol.ErrTooLarge, RefusedBounds},
		{errors.New("the disk is full"), ""},
		{nil, ""},
	} {
		if got := causeOf(c.err); got != c.want {
			t.Errorf("%v: counted as %q, want %q", c.err, got, c.want)
		}
	}
	if because(RefusedJob, nil) != nil {
		t.Error("no error is refused")
	}
}
