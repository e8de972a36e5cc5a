package wordcount

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

func TestMain(m *testing.M) {
	guest.ServeIfChild()
	goleak.VerifyTestMain(m)
}

// TestModulesAreOfTheirSources fails when a source was changed and its module
// was not built again.
func TestModulesAreOfTheirSources(t *testing.T) {
	sums, err := os.ReadFile("modules.sum")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"map.go", "map.wasm", "reduce.go", "reduce.wasm"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(b), name); !strings.Contains(string(sums), line) {
			t.Errorf("%s is not what modules.sum says: run go generate ./examples/wordcount", name)
		}
	}
	if sha256.Sum256(MapModule()) == sha256.Sum256(ReduceModule()) {
		t.Error("both modules are the same")
	}
}

func one(text string) iter.Seq2[io.Reader, error] { return texts([]string{text}) }

func texts(all []string) iter.Seq2[io.Reader, error] {
	return func(yield func(io.Reader, error) bool) {
		for _, text := range all {
			if !yield(strings.NewReader(text), nil) {
				return
			}
		}
	}
}

func count(t testing.TB, inputs iter.Seq2[io.Reader, error]) string {
	t.Helper()
	var out bytes.Buffer
	if err := Count(&out, inputs); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		name   string
		inputs []string
		want   string
	}{
		{"nothing", nil, ""},
		{"empty", []string{"", " \n\t \n"}, ""},
		{"sorted by bytes", []string{"b a\tB\na é b"}, "B\t1\na\t2\nb\t2\né\t1\n"},
		{"an end ends a word", []string{"wo", "rd"}, "rd\t1\nwo\t1\n"},
		{"other white space is of the word", []string{"a\rb\r\na\vb a\u00a0b"}, "a\vb\t1\na\rb\r\t1\na\u00a0b\t1\n"},
		{"longer than a buffer", []string{strings.Repeat("x", 600<<10) + " y"}, strings.Repeat("x", 600<<10) + "\t1\ny\t1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := count(t, texts(c.inputs)); got != c.want {
				t.Errorf("got %.100q, want %.100q", got, c.want)
			}
		})
	}
}

func TestCountFails(t *testing.T) {
	broken := func(yield func(io.Reader, error) bool) { yield(nil, os.ErrPermission) }
	if err := Count(io.Discard, broken); err == nil {
		t.Error("an input that cannot be opened gave no error")
	}
}

// sample has words of all lengths, more distinct ones than the mapper's table
// holds, and no newline at its end.
func sample() string {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.1, 1, 1<<20)
	var b strings.Builder
	for range 400_000 {
		fmt.Fprintf(&b, "w%x", zipf.Uint64())
		b.WriteByte(" \t\n "[rng.IntN(4)])
	}
	for i := range 150_000 {
		fmt.Fprintf(&b, "only%d\n", i)
	}
	b.WriteString(strings.Repeat("long", 100<<10) + "\n\x00\xff \r\n\n\nlast")
	return b.String()
}

// sortByWord does what a shuffle does between mapper and reducer.
func sortByWord(lines string) string {
	all := strings.SplitAfter(lines, "\n")
	slices.SortStableFunc(all, func(a, b string) int {
		keyA, _, _ := strings.Cut(a, "\t")
		keyB, _, _ := strings.Cut(b, "\t")
		return cmp.Compare(keyA, keyB)
	})
	return strings.Join(all, "")
}

func moduleFile(t testing.TB, name string, module []byte) guest.Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, module, 0o600); err != nil {
		t.Fatal(err)
	}
	return guest.Program{Kind: protocol.Wasm, Module: path}
}

// script is a Python program that travels with its task.
func script(t testing.TB, name string) guest.Program {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return guest.Program{Kind: protocol.Exec, Command: "python3 " + name, Files: []guest.File{{Name: name, Path: path}}}
}

func newPool(t testing.TB) *guest.Pool {
	t.Helper()
	pool := guest.NewPool(guest.Config{Size: 1, Dir: t.TempDir()})
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	})
	return pool
}

func run(t testing.TB, pool *guest.Pool, p guest.Program, in string) string {
	t.Helper()
	var out bytes.Buffer
	report, err := pool.Run(t.Context(), guest.Run{Program: p, In: strings.NewReader(in), Out: &out})
	if err != nil {
		t.Fatalf("%v\n%s", err, report.Log)
	}
	return out.String()
}

// TestPrograms holds mapper, combiner and reducer, in wasm and in Python, to
// what Count says.
func TestPrograms(t *testing.T) {
	type pair struct {
		name         string
		map_, reduce guest.Program
	}
	pairs := []pair{{"wasm", moduleFile(t, "map.wasm", MapModule()), moduleFile(t, "reduce.wasm", ReduceModule())}}
	if _, err := exec.LookPath("python3"); err == nil {
		pairs = append(pairs, pair{"python", script(t, "mapper.py"), script(t, "reducer.py")})
	}
	text := sample()
	want := count(t, one(text))
	cut := strings.LastIndexByte(text[:len(text)/2], '\n') + 1
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			pool := newPool(t)
			if got := run(t, pool, p.reduce, run(t, pool, p.map_, "")); got != "" {
				t.Errorf("an empty input gave %q", got)
			}
			var combined string
			for _, split := range []string{text[:cut], text[cut:]} {
				combined += run(t, pool, p.reduce, sortByWord(run(t, pool, p.map_, split)))
			}
			if got := run(t, pool, p.reduce, sortByWord(combined)); got != want {
				t.Errorf("%d bytes are not the %d bytes of the sequential count", len(got), len(want))
			}
		})
	}
}

func TestReduceRefusesOtherLines(t *testing.T) {
	pool := newPool(t)
	program := moduleFile(t, "reduce.wasm", ReduceModule())
	for _, line := range []string{"word", "word\tx", "word\t99999999999999999999999"} {
		report, err := pool.Run(t.Context(), guest.Run{Program: program, In: strings.NewReader(line + "\n")})
		if err == nil || !bytes.Contains(report.Log, []byte("in the line")) {
			t.Errorf("%q: got error %v, log %q", line, err, report.Log)
		}
	}
}

// goSource is real text: the standard library's.
func goSource(b *testing.B) string {
	var text bytes.Buffer
	root := filepath.Join(strings.TrimSpace(goroot(b)), "src", "*", "*.go")
	paths, err := filepath.Glob(root)
	if err != nil || len(paths) == 0 {
		b.Fatal("no Go source found", err)
	}
	for _, path := range paths {
		if file, err := os.ReadFile(path); err == nil {
			text.Write(file)
		}
	}
	return text.String()
}

func goroot(b *testing.B) string {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Fatal(err)
	}
	return string(out)
}

func BenchmarkMapModule(b *testing.B) {
	pool, program, text := newPool(b), moduleFile(b, "map.wasm", MapModule()), goSource(b)
	run(b, pool, program, "")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		run(b, pool, program, text)
	}
}

func BenchmarkReduceModule(b *testing.B) {
	pool, program := newPool(b), moduleFile(b, "reduce.wasm", ReduceModule())
	text := sortByWord(run(b, pool, moduleFile(b, "map.wasm", MapModule()), goSource(b)))
	run(b, pool, program, "")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		run(b, pool, program, text)
	}
}

func BenchmarkCount(b *testing.B) {
	text := goSource(b)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		count(b, one(text))
	}
}
