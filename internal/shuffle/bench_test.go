package shuffle

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// sample is n bytes of lines of about 50 bytes with random keys.
func sample(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	out := make([]byte, 0, n+64)
	for len(out) < n {
		out = fmt.Appendf(out, "%016x\tsome value of a record, thirty-two%d\n", rnd.Uint64N(1<<40)*0x9e3779b9, rnd.IntN(10))
	}
	return out
}

func BenchmarkSorter(b *testing.B) {
	text := sample(128<<20, 1)
	for _, c := range []struct {
		name       string
		partitions int
		memory     int64
	}{{"memory", 1, 1 << 30}, {"memory-64", 64, 1 << 30}, {"spill", 1, 16 << 20}, {"spill-64", 64, 16 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			dir := b.TempDir()
			for b.Loop() {
				s := NewSorter(dir, c.partitions, c.memory)
				if _, err := io.Copy(s, struct{ io.Reader }{bytes.NewReader(text)}); err != nil {
					b.Fatal(err)
				}
				for _, r := range s.Partitions() {
					if _, err := io.Copy(struct{ io.Writer }{io.Discard}, r); err != nil {
						b.Fatal(err)
					}
				}
				s.Close()
			}
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, k := range []int{2, 8, 64, 512} {
		b.Run(fmt.Sprint(k), func(b *testing.B) {
			texts := make([][]byte, k)
			total := 0
			for i := range texts {
				s := NewSorter(b.TempDir(), 1, 1<<30)
				s.Write(sample(64<<20/k, uint64(i)))
				for _, r := range s.Partitions() {
					texts[i], _ = io.ReadAll(r)
				}
				total += len(texts[i])
				s.Close()
			}
			b.SetBytes(int64(total))
			for b.Loop() {
				var sources []io.Reader
				for _, t := range texts {
					sources = append(sources, bytes.NewReader(t))
				}
				if err := Merge(io.Discard, sources); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPartitionOf(b *testing.B) {
	key := []byte("a key of twenty bytes")
	b.SetBytes(int64(len(key)))
	for b.Loop() {
		PartitionOf(key, 4096)
	}
}
