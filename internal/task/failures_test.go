package task

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

func pass(_ context.Context, in io.Reader, out, _ io.Writer) error {
	_, err := io.Copy(out, in)
	return err
}

// fakeGuests answers every run alike, after it has read the input.
type fakeGuests struct {
	err  error
	runs []guest.Run
}

func (f *fakeGuests) Run(_ context.Context, r guest.Run) (guest.Report, error) {
	f.runs = append(f.runs, r)
	_, err := io.Copy(r.Out, r.In)
	if f.err != nil {
		err = f.err
	}
	return guest.Report{Log: []byte("its log\n")}, err
}

func TestFailuresOfPrograms(t *testing.T) {
	funcs := wordFuncs()
	for name, f := range map[string]Func{
		"pass": pass,
		"fails": func(_ context.Context, _ io.Reader, _, log io.Writer) error {
			fmt.Fprint(log, "about to fail")
			return errors.New("no\nluck \xff")
		},
		"panics":  func(context.Context, io.Reader, io.Writer, io.Writer) error { panic("oh") },
		"prints":  func(_ context.Context, _ io.Reader, out, _ io.Writer) error { return printFor(out, 1<<20) },
		"ignores": func(_ context.Context, _ io.Reader, out, _ io.Writer) error { _ = printFor(out, 1<<20); return nil },
		"sleeps":  func(ctx context.Context, _ io.Reader, _, _ io.Writer) error { <-ctx.Done(); return ctx.Err() },
		"turns": func(_ context.Context, _ io.Reader, out, _ io.Writer) error {
			_, err := io.WriteString(out, "b\na\n")
			return err
		},
		"renames": func(_ context.Context, _ io.Reader, out, _ io.Writer) error {
			_, err := io.WriteString(out, "zzz\n")
			return err
		},
	} {
		funcs[name] = f
	}
	wasm := &protocol.Program{Kind: protocol.Exec, Command: "any"}
	for _, c := range []struct {
		name    string
		program *protocol.Program
		combine string
		guest   error
		kind    protocol.FailKind
		code    int
		text    string
		log     string
	}{
		{name: "unknown function", program: funcProgram("none"), kind: protocol.FailLoad, text: `map task 0/0: the function "none" is not registered on this node`},
		{name: "error", program: funcProgram("fails"), kind: protocol.FailExit, code: 1, text: "map task 0/0: returned an error: no luck ?", log: "about to fail"},
		{name: "panic", program: funcProgram("panics"), kind: protocol.FailTrap, text: "map task 0/0: panicked: oh", log: "failures_test.go"},
		{name: "output", program: funcProgram("prints"), kind: protocol.FailOutput, text: "map task 0/0: printed more than its limit of 1000 bytes"},
		{name: "output, error ignored", program: funcProgram("ignores"), kind: protocol.FailOutput, text: "more than its limit"},
		{name: "time", program: funcProgram("sleeps"), kind: protocol.FailTime, text: "map task 0/0: ran longer than its limit of 50ms"},
		{name: "combiner error", program: funcProgram("pass"), combine: "fails", kind: protocol.FailExit, code: 1, text: "map task 0/0: the combiner: returned an error: no luck ?"},
		{name: "combiner order", program: funcProgram("pass"), combine: "turns", kind: protocol.FailRecord, text: "the combiner: records are not in the order of their keys; a combiner must"},
		{name: "combiner partition", program: funcProgram("pass"), combine: "renames", kind: protocol.FailRecord, text: "the combiner: a record has the key of another partition"},
		{name: "guest exit", program: wasm, guest: &guest.Error{Kind: protocol.FailExit, Code: 3, Text: "exited with status 3"}, kind: protocol.FailExit, code: 3, text: "map task 0/0: exited with status 3", log: "its log"},
		{name: "guest memory", program: wasm, guest: fmt.Errorf("wrapped: %w", &guest.Error{Kind: protocol.FailMemory, Text: "too large"}), kind: protocol.FailMemory, text: "map task 0/0: too large"},
		{name: "guest closed", program: wasm, guest: guest.ErrClosed, kind: protocol.FailHost, text: guest.ErrClosed.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBlocks()
			stage := protocol.Stage{Kind: protocol.MapStage, Program: c.program}
			if c.combine != "" {
				stage.Partitions, stage.Combine = 2, funcProgram(c.combine)
			}
			m := b.job(t, []string{"some\ninput\n"}, 100, stage)
			m.Limits.Output, m.Limits.Timeout = 1000, 50*time.Millisecond
			dir := t.TempDir()
			r := NewRunner(Config{Store: b, Inputs: b, Funcs: funcs, Guests: &fakeGuests{err: c.guest}, Dir: dir})
			_, err := r.Run(t.Context(), Work{Manifest: m})
			var failed *Failed
			if !errors.As(err, &failed) {
				t.Fatalf("got %v", err)
			}
			if failed.Kind != c.kind || failed.Code != c.code || !strings.Contains(failed.Text, c.text) {
				t.Errorf("got %s %d %q, want %s %d %q", failed.Kind, failed.Code, failed.Text, c.kind, c.code, c.text)
			}
			if !strings.Contains(string(failed.Log), c.log) {
				t.Errorf("the log is %q", failed.Log)
			}
			noScratch(t, dir)
		})
	}
}

func printFor(out io.Writer, n int) error {
	for range n {
		if _, err := out.Write([]byte("some output\n")); err != nil {
			return err
		}
	}
	return nil
}

func runErr(t *testing.T, r *Runner, w Work, kind protocol.FailKind) *Failed {
	t.Helper()
	_, err := r.Run(t.Context(), w)
	var failed *Failed
	if !errors.As(err, &failed) || failed.Kind != kind {
		t.Fatalf("got %v, want a failure of kind %s", err, kind)
	}
	return failed
}

func TestLostInputs(t *testing.T) {
	b, dir := newBlocks(), t.TempDir()
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Guests: &fakeGuests{}, Dir: dir})
	m := wordJob(t, b, []string{"a b c\n", "d e f\n"}, 6, 2, false)
	var maps []protocol.Input
	for i := range 2 {
		out, err := r.Run(t.Context(), Work{Manifest: m, Task: protocol.Key{Index: i}})
		if err != nil {
			t.Fatal(err)
		}
		maps = append(maps, protocol.Input{CID: out.Result, Size: out.Size})
	}
	reduce := Work{Manifest: m, Task: protocol.Key{Stage: 1}, Inputs: maps}

	b.forget(m.Inputs[1])
	if failed := runErr(t, r, Work{Manifest: m, Task: protocol.Key{Index: 1}}, protocol.FailInput); failed.Lost != m.Inputs[1] {
		t.Errorf("lost %s, want the file", failed.Lost)
	}
	runErr(t, r, Work{Manifest: m, Task: reduce.Task, Inputs: maps[:1]}, protocol.FailHost)

	var doc protocol.Shuffle
	if err := protocol.Decode(b.data[maps[1].CID], &doc); err != nil {
		t.Fatal(err)
	}
	b.forget(doc.File)
	if failed := runErr(t, r, reduce, protocol.FailInput); failed.Lost != maps[1].CID {
		t.Errorf("lost %s, want the shuffle document whose file is gone", failed.Lost)
	}
	b.forget(maps[0].CID)
	if failed := runErr(t, r, reduce, protocol.FailInput); failed.Lost != maps[0].CID {
		t.Errorf("lost %s, want the shuffle document", failed.Lost)
	}
	module := protocol.NewCID(protocol.CodecRaw, []byte("gone"))
	m.Stages[0].Program = &protocol.Program{Kind: protocol.Wasm, Module: module}
	if failed := runErr(t, r, Work{Manifest: m}, protocol.FailInput); failed.Lost != module {
		t.Errorf("lost %s, want the module", failed.Lost)
	}
	noScratch(t, dir)
}

// TestNoSuchTask: an award may name anything.
func TestNoSuchTask(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: t.TempDir()})
	m := wordJob(t, b, []string{"a\n"}, 6, 2, false)
	for _, k := range []protocol.Key{{Stage: 3}, {Stage: -1}, {Index: 1}, {Index: -1}, {Stage: 1, Index: 2}} {
		runErr(t, r, Work{Manifest: m, Task: k}, protocol.FailHost)
	}
}

// TestHostileDocuments: whatever a shuffle document says, it costs nothing.
func TestHostileDocuments(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: t.TempDir()})
	m := wordJob(t, b, []string{"a\n"}, 6, 2, false)
	file := b.add(t, "a\t1\n")
	for _, parts := range [][]protocol.Partition{
		nil,
		{{Length: 4}},
		{{Length: 4}, {Offset: 4}, {Offset: 4}},
		{{Length: -1}, {Offset: -1, Length: 5}},
		{{Length: 1 << 62}, {Offset: 1 << 62, Length: 1 << 62}},
		{{Length: 4}, {Offset: 3, Length: 1}},
		{{}, {}},
		{{Length: 1 << 40}, {Offset: 1 << 40}},
		{{Length: 3}, {Offset: 3}},
	} {
		data := protocol.Encode(protocol.Shuffle{File: file, Parts: parts})
		c := protocol.NewCID(protocol.CodecDagCBOR, data)
		b.data[c] = data
		w := Work{Manifest: m, Task: protocol.Key{Stage: 1}, Inputs: []protocol.Input{{CID: c}}}
		if failed := runErr(t, r, w, protocol.FailInput); failed.Lost != c {
			t.Errorf("%v: lost %s", parts, failed.Lost)
		}
	}
}

func TestFullDisk(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: t.TempDir()})
	m := wordJob(t, b, []string{strings.Repeat("word\n", 1<<18)}, 10<<20, 1, false)
	plain := b.job(t, []string{"a\n"}, 10, protocol.Stage{Kind: protocol.MapStage, Program: funcProgram("split")})
	b.full = true
	for _, m := range []*protocol.Manifest{m, plain} {
		if failed := runErr(t, r, Work{Manifest: m}, protocol.FailHost); !errors.Is(failed, errFull) {
			t.Errorf("got %v", failed)
		}
	}
}

func TestCancel(t *testing.T) {
	for _, c := range []struct {
		name string
		stop func(b *blocks, cancel func()) Func
	}{
		{"while the program runs", func(_ *blocks, cancel func()) Func {
			return func(ctx context.Context, _ io.Reader, _, _ io.Writer) error { cancel(); <-ctx.Done(); return ctx.Err() }
		}},
		{"while the input is read", func(b *blocks, cancel func()) Func {
			b.before = func(protocol.CID) { cancel() }
			return pass
		}},
		{"while the output is written", func(_ *blocks, cancel func()) Func {
			return func(_ context.Context, _ io.Reader, out, _ io.Writer) error { cancel(); return printFor(out, 1<<30) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			b, dir := newBlocks(), t.TempDir()
			m := b.job(t, []string{"a\nb\n"}, 10, protocol.Stage{Kind: protocol.MapStage, Program: funcProgram("f")})
			r := NewRunner(Config{Store: b, Inputs: b, Funcs: map[string]Func{"f": c.stop(b, cancel)}, Dir: dir})
			if _, err := r.Run(ctx, Work{Manifest: m}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			noScratch(t, dir)
		})
	}
}

func TestLog(t *testing.T) {
	b := newBlocks()
	r := NewRunner(Config{Store: b, Inputs: b, Funcs: wordFuncs(), Dir: t.TempDir()})
	m := wordJob(t, b, []string{"a b\n"}, 10, 1, true)
	out, err := r.Run(t.Context(), Work{Manifest: m})
	if err != nil || string(out.Log) != "split\nsummed\n" {
		t.Errorf("the log is %q, %v", out.Log, err)
	}
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"0123456789", "0123456789"},
		{"0123456789abc", "01234\n... 3 bytes left out ...\n89abc"},
		{strings.Repeat("x", 100) + "12345", "xxxxx\n... 95 bytes left out ...\n12345"},
	} {
		for _, piece := range []int{1, 3, 1000} {
			log := newEnds(10)
			for rest := c.in; rest != ""; {
				n := min(piece, len(rest))
				fmt.Fprint(log, rest[:n])
				rest = rest[n:]
			}
			if got := string(log.Bytes()); got != c.want {
				t.Errorf("in pieces of %d: %q, want %q", piece, got, c.want)
			}
		}
	}
}
