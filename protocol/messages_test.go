package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

func drawKey(t *rapid.T) Key {
	return Key{Stage: rapid.IntRange(0, MaxStages-1).Draw(t, "stage"), Index: rapid.IntRange(0, MaxTasks-1).Draw(t, "index")}
}

func drawAward(t *rapid.T, holders []peer.ID) *Award {
	m := &Award{Job: drawCID(t, "job"), Reservation: rapid.Uint64().Draw(t, "reservation")}
	for range rapid.IntRange(0, MaxOfferBatch).Draw(t, "tasks") {
		a := Awarded{Task: drawKey(t)}
		for range rapid.IntRange(0, 3).Draw(t, "inputs") {
			a.Inputs = append(a.Inputs, Input{CID: drawCID(t, "input"), Size: rapid.Int64Min(0).Draw(t, "size"), Holders: holders})
		}
		m.Tasks = append(m.Tasks, a)
	}
	return m
}

func drawPing(t *rapid.T) *Ping {
	m := &Ping{Boot: rapid.Uint64().Draw(t, "boot")}
	for range rapid.IntRange(0, 4).Draw(t, "claims") {
		c := Claim{Job: drawCID(t, "job")}
		for range rapid.IntRange(0, 8).Draw(t, "tasks") {
			c.Tasks = append(c.Tasks, drawKey(t))
		}
		c.Running = rapid.IntRange(0, len(c.Tasks)).Draw(t, "running")
		m.Claims = append(m.Claims, c)
	}
	return m
}

// drawMessage draws any message that its bounds allow.
func drawMessage(t *rapid.T, holders []peer.ID, receipts []SignedReceipt) Message {
	job := drawCID(t, "job")
	number := rapid.Uint64().Draw(t, "number")
	keys := []Key{drawKey(t)}
	switch rapid.IntRange(1, 12).Draw(t, "kind") {
	case 1:
		return &Offer{
			Job: job, Reservation: number, Tasks: rapid.IntRange(1, MaxOfferBatch).Draw(t, "tasks"), Inputs: []Sized{{CID: drawCID(t, "input"), Size: 7}},
			Needs: Needs{Kinds: []ProgramKind{Wasm, Func}, Funcs: []string{rapid.StringN(0, 64, MaxName).Draw(t, "func")}}, Estimate: time.Second,
		}
	case 2:
		return &Bid{
			Job: job, Reservation: number, Tasks: rapid.IntRange(0, MaxOfferBatch).Draw(t, "tasks"),
			Start: time.Duration(rapid.Int64Range(0, int64(MaxEstimate)).Draw(t, "start")), Refusal: rapid.String().Draw(t, "refusal"),
		}
	case 3:
		return drawAward(t, holders)
	case 4:
		return drawPing(t)
	case 5:
		return &Done{Job: job, Number: number, Receipts: receipts}
	case 6:
		return &Ack{Job: job, Numbers: []uint64{number, 0}}
	case 7:
		return &Steal{Number: number, Slots: 3, Has: Needs{Kinds: []ProgramKind{Wasm}, Cores: 4, Memory: 1 << 30, Labels: []string{"gpu"}}, Lifeline: true}
	case 8:
		turn := Turn{Submitter: "", Queue: ShortestFirst, Priority: -3, Estimate: time.Second, Cores: 2, Memory: 5}
		return &Loot{Number: number, Job: job, Tasks: drawAward(t, holders).Tasks, Turn: turn, Last: true}
	case 9:
		return &Stolen{Job: job, From: holders[0], Tasks: keys}
	case 10:
		return &Release{Job: job, Tasks: keys}
	case 11:
		return &Lost{Job: job, Tasks: keys}
	default:
		have := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 128), 1, MaxStages).Draw(t, "have")
		return &Announce{Job: job, Have: have, Facts: []Digest{leafHash(nil)}, Reply: rapid.Bool().Draw(t, "reply")}
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	key, worker := testKey(t, 1)
	receipts := signReceipts(t, testReceipts(worker, 5), key)
	rapid.Check(t, func(t *rapid.T) {
		want := drawMessage(t, []peer.ID{worker}, receipts)
		got, err := DecodeMessage(EncodeMessage(want))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v arrives as %+v", want, got)
		}
	})
}

func TestMessagesOutOfBoundsAreRefused(t *testing.T) {
	job, bad := link("job"), Key{Stage: -1}
	for name, m := range map[string]Message{
		"an offer without a job":        &Offer{Tasks: 1},
		"an offer of nothing":           &Offer{Job: job},
		"an offer of too much":          &Offer{Job: job, Tasks: MaxOfferBatch + 1},
		"an offer with many inputs":     &Offer{Job: job, Tasks: 1, Inputs: make([]Sized, MaxOfferBatch+1)},
		"an offer of an unnamed input":  &Offer{Job: job, Tasks: 1, Inputs: []Sized{{}}},
		"an offer of negative time":     &Offer{Job: job, Tasks: 1, Estimate: -1},
		"an offer with many needs":      &Offer{Job: job, Tasks: 1, Needs: Needs{Funcs: make([]string, MaxStages+1)}},
		"an offer with a long name":     &Offer{Job: job, Tasks: 1, Needs: Needs{Funcs: []string{strings.Repeat("f", MaxName+1)}}},
		"a bid without a job":           &Bid{},
		"a negative bid":                &Bid{Job: job, Tasks: -1},
		"a bid for too much":            &Bid{Job: job, Tasks: MaxOfferBatch + 1},
		"a bid for yesterday":           &Bid{Job: job, Start: -1},
		"a bid that lacks less than 0":  &Bid{Job: job, Missing: -1},
		"a long refusal":                &Bid{Job: job, Refusal: strings.Repeat("n", MaxText+1)},
		"an award without a job":        &Award{},
		"an award of too much":          &Award{Job: job, Tasks: make([]Awarded, MaxOfferBatch+1)},
		"an award of no task":           &Award{Job: job, Tasks: []Awarded{{Task: bad}}},
		"an award with many inputs":     &Award{Job: job, Tasks: []Awarded{{Inputs: make([]Input, MaxInputs+1)}}},
		"an award with no input":        &Award{Job: job, Tasks: []Awarded{{Inputs: []Input{{}}}}},
		"an award of a negative size":   &Award{Job: job, Tasks: []Awarded{{Inputs: []Input{{CID: job, Size: -1}}}}},
		"a claim without a job":         &Ping{Claims: []Claim{{}}},
		"a claim that runs more":        &Ping{Claims: []Claim{{Job: job, Running: 1}}},
		"a claim that runs less than 0": &Ping{Claims: []Claim{{Job: job, Running: -1}}},
		"a claim of no task":            &Ping{Claims: []Claim{{Job: job, Tasks: []Key{bad}}}},
		"too many claims":               &Ping{Claims: []Claim{{Job: job, Tasks: make([]Key, MaxClaims)}}},
		"done without a job":            &Done{},
		"too many receipts":             &Done{Job: job, Receipts: make([]SignedReceipt, 4*MaxReceiptBatch+1)},
		"too many failures":             &Done{Job: job, Facts: make([]Signed, 4*MaxReceiptBatch+1)},
		"an ack without a job":          &Ack{},
		"an ack of too much":            &Ack{Job: job, Numbers: make([]uint64, MaxAcks+1)},
		"an announcement of no job":     &Announce{},
		"too many stages":               &Announce{Job: job, Have: make([][]byte, MaxStages+1)},
		"too many tasks":                &Announce{Job: job, Have: [][]byte{make([]byte, MaxTasks/8+1)}},
		"a turn of no policy":           &Offer{Job: job, Tasks: 1, Turn: Turn{Queue: "mine first"}},
		"a turn before all others":      &Offer{Job: job, Tasks: 1, Turn: Turn{Priority: MaxPriority + 1}},
		"a turn of a negative size":     &Offer{Job: job, Tasks: 1, Turn: Turn{Memory: -1}},
		"a steal for negative slots":    &Steal{Slots: -1},
		"a steal with an empty label":   &Steal{Has: Needs{Labels: []string{""}}},
		"loot of no job":                &Loot{Tasks: []Awarded{{}}},
		"loot of no task":               &Loot{Job: job, Tasks: []Awarded{{Task: bad}}},
		"stolen from nobody":            &Stolen{Job: job},
		"a release of no task":          &Release{Job: job, Tasks: []Key{bad}},
		"too much lost":                 &Lost{Job: job, Tasks: make([]Key, MaxClaims+1)},
		"a negative shard":              &Announce{Job: job, Shard: -1},
		"done in a shard too far":       &Done{Job: job, Shard: MaxShards + 1},
		"progress of a negative count":  &Ping{Progress: []Progress{{Job: job, Done: -1}}},
		"a steward of no job":           &Ping{Stewards: []ShardRef{{}}},
		"too many facts":                &Announce{Job: job, Facts: make([]Digest, MaxFacts+1)},
	} {
		if got, err := DecodeMessage(EncodeMessage(m)); !errors.Is(err, ErrBounds) || got != nil {
			t.Errorf("%s: decodes to %v, %v", name, got, err)
		}
	}
	for _, b := range [][]byte{nil, {0}, {13}, {1}, {1, 0}, append(EncodeMessage(&Ack{Job: job}), 0)} {
		if got, err := DecodeMessage(b); err == nil || got != nil {
			t.Errorf("%x decodes to %v", b, got)
		}
	}
}

// TestLargestMessagesFit holds that the bounds of what a message holds keep it
// below the bound of a frame.
func TestLargestMessagesFit(t *testing.T) {
	key, worker := testKey(t, 1)
	receipts := testReceipts(worker, MaxReceiptBatch)
	for i := range receipts {
		receipts[i].Block = bytes.Repeat([]byte{byte(i)}, MaxInline)
		receipts[i].Result = NewCID(CodecRaw, receipts[i].Block)
	}
	done := &Done{Job: link("job")}
	for range 4 {
		done.Receipts = append(done.Receipts, signReceipts(t, receipts, key)...)
	}
	award := &Award{Job: link("job"), Tasks: []Awarded{{}}}
	for range MaxInputs {
		award.Tasks[0].Inputs = append(award.Tasks[0].Inputs, Input{CID: link("in"), Size: 1 << 40, Holders: []peer.ID{worker, worker, worker}})
	}
	ping := &Ping{Claims: []Claim{{Job: link("job")}}}
	for i := range MaxClaims - 1 {
		ping.Claims[0].Tasks = append(ping.Claims[0].Tasks, Key{Stage: MaxStages - 1, Index: MaxTasks - 1 - i})
	}
	for _, m := range []Message{done, award, ping} {
		b := EncodeMessage(m)
		if len(b) > MaxMessage {
			t.Errorf("a full %T has %d bytes, a frame at most %d", m, len(b), MaxMessage)
		}
		if _, err := DecodeMessage(b); err != nil {
			t.Errorf("a full %T: %v", m, err)
		}
	}
}

// FuzzDecodeMessage holds that what decodes is within its bounds, and that it
// survives the way to another peer unchanged.
func FuzzDecodeMessage(f *testing.F) {
	key, worker := testKey(f, 1)
	for _, m := range []Message{
		&Offer{Job: link("job"), Tasks: 3, Inputs: []Sized{{CID: link("in"), Size: 1}}},
		&Bid{Job: link("job"), Refusal: "exec is not allowed here"},
		&Award{Job: link("job"), Tasks: []Awarded{{Task: Key{Stage: 1, Index: 2}, Inputs: []Input{{CID: link("in"), Size: 3, Holders: []peer.ID{worker}}}}}},
		&Ping{Boot: 1, Claims: []Claim{{Job: link("job"), Tasks: []Key{{Stage: 1, Index: 2}}, Running: 1}}},
		&Done{Job: link("job"), Number: 1, Receipts: signReceipts(f, testReceipts(worker, 2), key)},
		&Ack{Job: link("job"), Numbers: []uint64{1, 2}},
		&Steal{Number: 1, Slots: 2, Has: Needs{Kinds: []ProgramKind{Exec}, Labels: []string{"gpu"}}},
		&Loot{Number: 1, Job: link("job"), Tasks: []Awarded{{Task: Key{Stage: 1, Index: 2}}}, Last: true},
		&Stolen{Job: link("job"), From: worker, Tasks: []Key{{Stage: 1, Index: 2}}},
		&Release{Job: link("job"), Tasks: []Key{{Stage: 1, Index: 2}}},
		&Lost{Job: link("job"), Tasks: []Key{{Stage: 1, Index: 2}}},
		&Announce{Job: link("job"), Have: [][]byte{{1, 2}, nil}, Facts: []Digest{leafHash(nil)}},
	} {
		f.Add(EncodeMessage(m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		once := EncodeMessage(m)
		again, err := DecodeMessage(once)
		if err != nil {
			t.Fatalf("%+v does not survive: %v", m, err)
		}
		if !bytes.Equal(EncodeMessage(again), once) {
			t.Fatalf("%+v changes to %+v", m, again)
		}
	})
}
