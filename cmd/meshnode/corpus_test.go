package main_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// writeCorpus writes size bytes of seeded text into a new folder and returns
// the files: words with a Zipf distribution, between single and repeated
// spaces, tabs and newlines, in files of different sizes, one of them empty and
// half of them without a newline at their end.
func writeCorpus(t *testing.T, dir string, seed uint64, size int) []string {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	zipf := rand.NewZipf(rng, 1.1, 1, 20_000)
	separators := []string{" ", " ", " ", " ", "\n", "\n", "\t", "  ", "\n\n", " \t"}
	var files []string
	write := func(name string, length int) {
		var b bytes.Buffer
		for b.Len() < length {
			b.WriteString(word(zipf.Uint64()))
			b.WriteString(separators[rng.IntN(len(separators))])
		}
		text := b.Bytes()
		if len(files)%2 == 1 {
			text = bytes.TrimRight(text, " \t\n")
		}
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	write("empty.txt", 0)
	for i := range 12 {
		write(fmt.Sprintf("part %d/text-%02d.txt", i%3, i), size/2/12)
	}
	write("large.txt", size/2)
	return files
}

// word spells the n-th word: short for frequent ones, now and then beyond
// ASCII, or one that begins like another.
func word(n uint64) string {
	const letters = "etaoinsrhldcumfpgwybvk"
	var b strings.Builder
	for rest := n + 1; rest > 0; rest /= uint64(len(letters)) {
		b.WriteByte(letters[rest%uint64(len(letters))])
	}
	switch n % 17 {
	case 3:
		b.WriteString("é")
	case 5:
		b.WriteString("!")
	case 7:
		b.WriteString("-x")
	}
	return b.String()
}

// countNatively is the reference: every word and how often it occurs, sorted by
// its bytes.
func countNatively(t *testing.T, files []string) string {
	t.Helper()
	counts := map[string]int{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range bytes.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }) {
			counts[string(w)]++
		}
	}
	var b strings.Builder
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&b, "%s\t%d\n", w, counts[w])
	}
	return b.String()
}

// compareWithAwk holds the reference against awk and sort where there are any.
func compareWithAwk(t *testing.T, files []string, want string) {
	t.Helper()
	for _, tool := range []string{"awk", "sort", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("no %s here: the reference is the count in Go alone", tool)
			return
		}
	}
	const script = `awk '{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) print w "\t" n[w] }' "$@" | sort`
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, files...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("awk and sort: %v", err)
	}
	if string(out) != want {
		t.Fatalf("awk and sort count otherwise than Go: %s", firstDifference(string(out), want))
	}
	t.Log("awk and sort agree with the count in Go")
}

// firstDifference says where two texts part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d is %q, not %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(g), len(w))
}
