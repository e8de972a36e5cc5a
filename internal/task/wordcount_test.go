package task

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/internal/shuffle"
	"github.com/meshnode/meshnode/protocol"
)

// splitWords prints "word<TAB>1" for every word.
func splitWords(_ context.Context, in io.Reader, out, log io.Writer) error {
	scan := bufio.NewScanner(in)
	scan.Split(bufio.ScanWords)
	for scan.Scan() {
		if _, err := fmt.Fprintf(out, "%s\t1\n", scan.Text()); err != nil {
			return err
		}
	}
	fmt.Fprintln(log, "split")
	return scan.Err()
}

// sumCounts adds up the counts of each word, whose lines follow each other.
func sumCounts(_ context.Context, in io.Reader, out, log io.Writer) error {
	word, sum := "", 0
	scan := bufio.NewScanner(in)
	flush := func() {
		if sum > 0 {
			fmt.Fprintf(out, "%s\t%d\n", word, sum)
		}
	}
	for scan.Scan() {
		key, value, _ := strings.Cut(scan.Text(), "\t")
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		if key != word {
			flush()
			word, sum = key, 0
		}
		sum += n
	}
	flush()
	fmt.Fprintln(log, "summed")
	return scan.Err()
}

func wordFuncs() map[string]Func { return map[string]Func{"split": splitWords, "sum": sumCounts} }

// wordStages are the stages of a word count over the given number of splits,
// with a merge tree if there is a combiner.
func wordStages(splits, partitions int, combine bool) []protocol.Stage {
	first := protocol.Stage{Kind: protocol.MapStage, Tasks: splits, Program: funcProgram("split"), Partitions: partitions}
	if combine {
		first.Combine = funcProgram("sum")
	}
	stages := []protocol.Stage{first}
	for n := splits; combine && n > 1; {
		n = (n + protocol.MergeArity - 1) / protocol.MergeArity
		stages = append(stages, protocol.Stage{Kind: protocol.MergeStage, Tasks: n, Combine: funcProgram("sum"), Partitions: partitions})
	}
	return append(stages,
		protocol.Stage{Kind: protocol.ReduceStage, Tasks: partitions, Program: funcProgram("sum")},
		protocol.Stage{Kind: protocol.ConcatStage, Tasks: 1})
}

func wordJob(t fataler, b *blocks, files []string, split int64, partitions int, combine bool) *protocol.Manifest {
	m := b.job(t, files, split, protocol.Stage{Kind: protocol.MapStage})
	m.Stages = wordStages(m.Stages[0].Tasks, partitions, combine)
	return m
}

// countWords is the reference: the whole answer from one map.
func countWords(files []string, partitions int) string {
	counts := map[string]int{}
	for _, f := range files {
		for _, w := range strings.Fields(f) {
			counts[w]++
		}
	}
	out := make([]string, partitions)
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		out[shuffle.PartitionOf([]byte(w), partitions)] += fmt.Sprintf("%s\t%d\n", w, counts[w])
	}
	return strings.Join(out, "")
}

// TestWordCount runs whole jobs and compares them with the reference, and their
// roots across memory sizes: spilling must not change the bytes.
func TestWordCount(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("aab \n\né")), 0, 200, -1)
		files := rapid.SliceOfN(text, 1, 4).Draw(t, "files")
		split := rapid.Int64Range(1, 100).Draw(t, "split")
		partitions := rapid.IntRange(1, 4).Draw(t, "partitions")
		combine := rapid.Bool().Draw(t, "combine")
		var roots [2]protocol.CID
		for i, memory := range []int64{0, rapid.Int64Range(1, 300).Draw(t, "memory")} {
			b := newBlocks()
			r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: dir, SortMemory: memory})
			out := runAll(t, r, wordJob(t, b, files, split, partitions, combine))
			want := countWords(files, partitions)
			if got := b.read(t, out.Result); got != want || out.Size != int64(len(want)) {
				t.Fatalf("got %q of %d bytes, want %q", got, out.Size, want)
			}
			roots[i] = out.Result
		}
		if roots[0] != roots[1] {
			t.Fatalf("the root depends on memory: %s and %s", roots[0], roots[1])
		}
	})
	noScratch(t, dir)
}

// TestManyInputs reduces more shuffle files than are merged at once.
func TestManyInputs(t *testing.T) {
	b, dir := newBlocks(), t.TempDir()
	var file strings.Builder
	for i := range shuffle.MaxFanIn + 20 {
		fmt.Fprintf(&file, "w%d\n", i%7)
	}
	files := []string{file.String()}
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: dir, SortMemory: 100})
	m := wordJob(t, b, files, 3, 2, false)
	if n := m.Stages[0].Tasks; n <= shuffle.MaxFanIn {
		t.Fatalf("only %d splits", n)
	}
	if got, want := b.read(t, runAll(t, r, m).Result), countWords(files, 2); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	noScratch(t, dir)
}

// TestMapOnly joins the outputs of maps in the order of their input, large ones
// too.
func TestMapOnly(t *testing.T) {
	b := newBlocks()
	upper := func(_ context.Context, in io.Reader, out, _ io.Writer) error {
		text, err := io.ReadAll(in)
		if err == nil {
			_, err = out.Write([]byte(strings.ToUpper(string(text))))
		}
		return err
	}
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: map[string]Func{"upper": upper}, Dir: t.TempDir()})
	for _, c := range []struct {
		name  string
		files []string
		split int64
		block bool
	}{
		{"empty", []string{""}, 10, true},
		{"small", []string{"one\ntwo"}, 100, true},
		{"many", []string{"one\ntwo\n", "three\n", "four"}, 4, false},
		{"large", []string{strings.Repeat("some text\n", 300_000)}, 1 << 20, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := b.job(t, c.files, c.split,
				protocol.Stage{Kind: protocol.MapStage, Program: funcProgram("upper")},
				protocol.Stage{Kind: protocol.ConcatStage, Tasks: 1})
			out := runAll(t, r, m)
			want := ""
			for _, f := range c.files {
				if want += strings.ToUpper(f); f != "" && !strings.HasSuffix(f, "\n") {
					want += "\n"
				}
			}
			if got := b.read(t, out.Result); got != want {
				t.Errorf("got %.100q, want %.100q", got, want)
			}
			if (out.Block != nil) != c.block {
				t.Errorf("a block of %d bytes came with the result", len(out.Block))
			}
		})
	}
}
