package protocol

import (
	"testing"
)

// benchDone is a full batch: 64 receipts, one signature.
func benchDone(b *testing.B) *Done {
	key, worker := testKey(b, 1)
	return &Done{Job: link("job"), Number: 1, Receipts: signReceipts(b, testReceipts(worker, MaxReceiptBatch), key)}
}

// benchPing claims 32 tasks of one job: a worker with a full queue.
func benchPing(*testing.B) *Ping {
	claim := Claim{Job: link("job"), Running: 2}
	for i := range 32 {
		claim.Tasks = append(claim.Tasks, Key{Stage: 1, Index: 1000 + i})
	}
	return &Ping{Boot: 1 << 60, Claims: []Claim{claim}}
}

func BenchmarkEncodeDone(b *testing.B) { benchEncode(b, benchDone(b)) }
func BenchmarkDecodeDone(b *testing.B) { benchDecode(b, benchDone(b)) }
func BenchmarkEncodePing(b *testing.B) { benchEncode(b, benchPing(b)) }
func BenchmarkDecodePing(b *testing.B) { benchDecode(b, benchPing(b)) }

func benchEncode(b *testing.B, m Message) {
	b.SetBytes(int64(len(EncodeMessage(m))))
	b.ReportAllocs()
	for b.Loop() {
		EncodeMessage(m)
	}
}

func benchDecode(b *testing.B, m Message) {
	encoded := EncodeMessage(m)
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeMessage(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenReceipts is what a steward does with a full Done besides
// decoding it; BenchmarkOpenEach is the same without sharing the signature.
func BenchmarkOpenReceipts(b *testing.B) {
	done := benchDone(b)
	for b.Loop() {
		if _, err := OpenReceipts(done.Receipts); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenEach(b *testing.B) {
	done := benchDone(b)
	for b.Loop() {
		for i := range done.Receipts {
			if _, err := done.Receipts[i].Open(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
