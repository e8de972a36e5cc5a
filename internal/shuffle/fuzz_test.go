package shuffle

import (
	"bytes"
	"io"
	"slices"
	"testing"
)

// linesOf cuts what a program printed, each line with its newline.
func linesOf(data []byte) [][]byte {
	var out [][]byte
	for line := range bytes.Lines(data) {
		out = append(out, append(bytes.TrimSuffix(bytes.Clone(line), newline), '\n'))
	}
	return out
}

// sorted is what sorting must give, by the plainest way.
func sorted(lines [][]byte) []byte {
	slices.SortStableFunc(lines, func(a, b []byte) int { return bytes.Compare(Key(a), Key(b)) })
	return bytes.Join(lines, nil)
}

// FuzzSort sorts anything, with so little memory that most of it goes through
// runs on the disk and back.
func FuzzSort(f *testing.F) {
	f.Add([]byte("b\t1\na\t2\nb\t0\n\n\t\nlast"), uint8(3), uint16(40))
	f.Add([]byte("a\x00\na\n"), uint8(1), uint16(1))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte, partitions uint8, memory uint16) {
		n := max(1, int(partitions))
		s := NewSorter(dir, n, max(1, int64(memory)))
		defer s.Close()
		half := len(data) / 2
		for _, piece := range [][]byte{data[:half], data[half:]} {
			if _, err := s.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		byPart := make([][][]byte, n)
		for _, line := range linesOf(data) {
			p := PartitionOf(Key(line), n)
			byPart[p] = append(byPart[p], line)
		}
		for p, r := range s.Partitions() {
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if want := sorted(byPart[p]); !bytes.Equal(got, want) {
				t.Fatalf("partition %d: %q, want %q", p, got, want)
			}
		}
	})
}

// FuzzMerge merges what peers say are sorted runs, whether they are or not:
// every line comes out once, and in order if all were.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("a\nc\n\xffb\nd\n\xff\xffe"))
	f.Add([]byte("b\na\n\xffa\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var sources []io.Reader
		var lines [][]byte
		ordered := true
		for _, run := range bytes.Split(data, []byte{0xff}) {
			sources = append(sources, bytes.NewReader(run))
			own := linesOf(run)
			ordered = ordered && slices.IsSortedFunc(own, func(a, b []byte) int { return bytes.Compare(Key(a), Key(b)) })
			lines = append(lines, own...)
		}
		var out bytes.Buffer
		if err := Merge(&out, sources); err != nil {
			t.Fatal(err)
		}
		got := linesOf(out.Bytes())
		if ordered {
			if want := sorted(lines); !bytes.Equal(out.Bytes(), want) {
				t.Fatalf("got %q, want %q", out.Bytes(), want)
			}
			return
		}
		slices.SortFunc(got, bytes.Compare)
		slices.SortFunc(lines, bytes.Compare)
		if !slices.EqualFunc(got, lines, bytes.Equal) {
			t.Fatalf("lines went lost or came twice: %q of %q", got, lines)
		}
	})
}

// FuzzChecker has a program print anything that it says is in order.
func FuzzChecker(f *testing.F) {
	f.Add([]byte("a\nb\nb\t1\n"), uint8(0), uint8(1))
	f.Add([]byte("b\na"), uint8(1), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, part, of uint8) {
		n := max(1, int(of))
		var out bytes.Buffer
		c := NewChecker(&out, int(part)%n, n)
		_, err := c.Write(data)
		if closed := c.Close(); err == nil {
			err = closed
		}
		got := linesOf(out.Bytes())
		if !slices.IsSortedFunc(got, func(a, b []byte) int { return bytes.Compare(Key(a), Key(b)) }) {
			t.Fatalf("out of order: %q", out.Bytes())
		}
		for _, line := range got {
			if PartitionOf(Key(line), n) != int(part)%n {
				t.Fatalf("a line of another partition: %q", line)
			}
		}
		if whole := linesOf(data); err == nil && !slices.EqualFunc(got, whole, bytes.Equal) {
			t.Fatalf("%q came out of %q", got, data)
		}
	})
}
