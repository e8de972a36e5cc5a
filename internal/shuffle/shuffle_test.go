package shuffle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestPartitionOfIsFixed: nodes of all versions must agree on these numbers.
func TestPartitionOfIsFixed(t *testing.T) {
	long := strings.Repeat("meshnode ", 100)
	for _, c := range []struct {
		key        string
		partitions int
		want       int
	}{
		{"", 1, 0}, {"anything", 1, 0}, {"", 7, 1}, {"a", 7, 1}, {"b", 7, 2}, {"the", 16, 1},
		{"the", 4096, 2865}, {"\x00", 10, 7}, {"\x00\x00", 10, 7}, {"\xff\xfe", 1000, 552}, {long, 4096, 3417},
	} {
		if got := PartitionOf([]byte(c.key), c.partitions); got != c.want {
			t.Errorf("PartitionOf(%.20q, %d) = %d, want %d", c.key, c.partitions, got, c.want)
		}
	}
}

func TestPartitionOfSpreads(t *testing.T) {
	const keys, partitions = 1 << 16, 64
	var counts [partitions]int
	for i := range keys {
		counts[PartitionOf(fmt.Appendf(nil, "key-%d", i*64), partitions)]++
	}
	mean := keys / partitions
	if least, most := slices.Min(counts[:]), slices.Max(counts[:]); least < mean*8/10 || most > mean*12/10 {
		t.Errorf("partitions hold %d to %d keys, about %d expected", least, most, mean)
	}
}

// records draws text full of what is awkward: few distinct keys, prefixes of
// each other, NULs, no tabs, bytes that are not UTF-8, no newline at the end.
func records() *rapid.Generator[string] {
	key := rapid.OneOf(
		rapid.StringMatching("[ab]{0,2}"),
		rapid.SampledFrom([]string{"", "k", "k\x00", "k\x00\x00", "\x00", "\xff", "\xff\xfe", "abcdefgh", "abcdefgh\x00", "abcdefghi", "abcdefg"}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string {
			return strings.NewReplacer("\n", "", "\t", "").Replace(string(b))
		}),
	)
	line := rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "tab") {
			return key.Draw(t, "key") + "\t" + rapid.StringMatching("[0-9\t]{0,3}").Draw(t, "value")
		}
		return key.Draw(t, "line")
	})
	return rapid.Custom(func(t *rapid.T) string {
		text := strings.Join(rapid.SliceOfN(line, 0, 60).Draw(t, "lines"), "\n")
		return text + rapid.SampledFrom([]string{"", "\n"}).Draw(t, "end")
	})
}

// reference sorts text as the package promises to, in the simplest way.
func reference(text string, partitions int) []string {
	out := make([]string, partitions)
	lines := strings.SplitAfter(text, "\n")
	if last := &lines[len(lines)-1]; *last == "" {
		lines = lines[:len(lines)-1]
	} else {
		*last += "\n"
	}
	keyOf := func(line string) string {
		key, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		return key
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
	for _, line := range lines {
		out[PartitionOf([]byte(keyOf(line)), partitions)] += line
	}
	return out
}

func partitionsOf(t interface{ Fatalf(string, ...any) }, s *Sorter) []string {
	var out []string
	for p, r := range s.Partitions() {
		if p != len(out) {
			t.Fatalf("partition %d in place %d", p, len(out))
		}
		b, err := io.ReadAll(iotest.OneByteReader(r))
		if err != nil {
			t.Fatalf("reading partition %d: %v", p, err)
		}
		out = append(out, string(b))
	}
	return out
}

func TestSorterIsTheReference(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		text := records().Draw(t, "text")
		partitions := rapid.IntRange(1, 5).Draw(t, "partitions")
		s := NewSorter(dir, partitions, rapid.SampledFrom([]int64{0, 1, 50, 200, 1000}).Draw(t, "memory"))
		defer s.Close()
		for rest := []byte(text); len(rest) > 0; {
			n := min(rapid.IntRange(1, 40).Draw(t, "piece"), len(rest))
			piece := bytes.Clone(rest[:n])
			if m, err := s.Write(piece); m != n || err != nil {
				t.Fatalf("Write = %d, %v", m, err)
			}
			clear(piece) // a writer must not keep what it was given
			rest = rest[n:]
		}
		for range 2 {
			if got, want := partitionsOf(t, s), reference(text, partitions); !slices.Equal(got, want) {
				t.Fatalf("got  %q\nwant %q", got, want)
			}
		}
	})
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("scratch was left behind: %v", left)
	}
}

// TestSorterManyRuns makes more runs than are merged at once.
func TestSorterManyRuns(t *testing.T) {
	var text strings.Builder
	for i := range 3*MaxFanIn + 7 {
		fmt.Fprintf(&text, "%d\t%d\n", i*7919%13, i)
	}
	s := NewSorter(t.TempDir(), 3, 1)
	defer s.Close()
	if _, err := io.WriteString(s, text.String()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.runs.bounds); n > MaxFanIn {
		t.Errorf("%d runs", n)
	}
	if got, want := partitionsOf(t, s), reference(text.String(), 3); !slices.Equal(got, want) {
		t.Error("the order is wrong")
	}
}

func mergeIn(dir string, dst io.Writer, sources []io.Reader) error {
	m, err := NewMerger(dir, sources)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, m)
	return errors.Join(err, m.Close(), m.Close())
}

func TestMergeIsTheReference(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(records(), 0, 9).Draw(t, "texts")
		var sources []io.Reader
		var all string
		for _, text := range texts {
			sorted := reference(text, 1)[0]
			all += sorted
			if rapid.Bool().Draw(t, "cut the last newline") && !strings.HasSuffix(sorted, "\n\n") && sorted != "\n" {
				sorted = strings.TrimSuffix(sorted, "\n")
			}
			sources = append(sources, iotest.HalfReader(strings.NewReader(sorted)))
		}
		var got bytes.Buffer
		if err := mergeIn(dir, &got, sources); err != nil {
			t.Fatal(err)
		}
		if want := reference(all, 1)[0]; got.String() != want {
			t.Fatalf("got  %q\nwant %q", got.String(), want)
		}
	})
}

func TestMergeInPasses(t *testing.T) {
	dir := t.TempDir()
	var sources []io.Reader
	var want strings.Builder
	for i := range 2*MaxFanIn + 3 {
		sources = append(sources, strings.NewReader(fmt.Sprintf("k\t%d\n", i)))
		fmt.Fprintf(&want, "k\t%d\n", i)
	}
	var got bytes.Buffer
	if err := mergeIn(dir, &got, sources); err != nil {
		t.Fatal(err)
	}
	if got.String() != want.String() {
		t.Error("merging in passes lost the order")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("scratch was left behind: %v", left)
	}
}

func TestErrorsOfSourcesAndSinks(t *testing.T) {
	broken := errors.New("broken")
	good := func() io.Reader { return strings.NewReader("a\nb\n") }
	bad := io.MultiReader(strings.NewReader("a\n"), iotest.ErrReader(broken))
	if err := Merge(io.Discard, []io.Reader{good(), bad}); !errors.Is(err, broken) {
		t.Errorf("a broken source: %v", err)
	}
	if err := Merge(brokenWriter{broken}, []io.Reader{good(), good()}); !errors.Is(err, broken) {
		t.Errorf("a broken sink: %v", err)
	}
	s := NewSorter(t.TempDir()+"/missing", 1, 1)
	if _, err := io.WriteString(s, "a\nb\n"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no scratch folder: %v", err)
	}
	for _, r := range s.Partitions() {
		if _, err := io.ReadAll(r); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("reading after an error: %v", err)
		}
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, errClosed) {
		t.Errorf("writing to a closed sorter: %v", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// endless gives n bytes without a newline.
func endless(n int64) io.Reader { return io.LimitReader(letters{}, n) }

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestLongLines(t *testing.T) {
	for _, c := range []struct {
		size int64
		want error
	}{{MaxLine - 1, nil}, {MaxLine, ErrRecord}, {2 * MaxLine, ErrRecord}} {
		s := NewSorter(t.TempDir(), 1, 0)
		_, err := io.Copy(s, endless(c.size))
		if err == nil {
			for _, r := range s.Partitions() {
				_, err = io.Copy(io.Discard, r)
			}
		}
		if !errors.Is(err, c.want) {
			t.Errorf("sorting a line of %d bytes: %v", c.size, err)
		}
		s.Close()
		if err := Merge(io.Discard, []io.Reader{endless(c.size)}); !errors.Is(err, c.want) {
			t.Errorf("merging a line of %d bytes: %v", c.size, err)
		}
	}
}

func TestChecker(t *testing.T) {
	other := 0
	for PartitionOf([]byte{byte('a' + other)}, 2) == PartitionOf([]byte("a"), 2) {
		other++
	}
	for _, c := range []struct {
		text string
		of   int
		want error
	}{
		{"", 1, nil}, {"a\t2\na\t1\nb\n", 1, nil}, {"a\t1\nb", 1, nil}, {"\n\na\n", 1, nil},
		{"b\na\n", 1, ErrOrder}, {"a\tx\na\x00\t1\na\n", 1, ErrOrder}, {"a\n\n", 1, ErrOrder}, {"b\na", 1, ErrOrder},
		{"a\n" + string(rune('a'+other)) + "\n", 2, ErrPartition},
	} {
		var out bytes.Buffer
		check := NewChecker(&out, PartitionOf([]byte("a"), c.of), c.of)
		_, err := io.Copy(check, iotest.OneByteReader(strings.NewReader(c.text)))
		if err = errors.Join(err, check.Close()); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.text, err, c.want)
		}
		if c.want != nil {
			continue
		}
		if want := reference(c.text, 1)[0]; err != nil || out.String() != want {
			t.Errorf("%q: passed on %q, %v", c.text, out.String(), err)
		}
	}
}
