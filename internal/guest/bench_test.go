package guest

import (
	"io"
	"strings"
	"testing"

	"github.com/meshnode/meshnode/protocol"
)

func benchmarkRun(b *testing.B, program Program, in string) {
	p := newTestPool(b, Config{Size: 1})
	run := func() {
		if _, err := p.Run(b.Context(), Run{Program: program, In: strings.NewReader(in), Out: io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
	run() // starts the child and compiles
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		run()
	}
}

func BenchmarkTinyModule(b *testing.B) {
	benchmarkRun(b, Program{Kind: protocol.Wasm, Module: moduleFile(b, assemble(assembly{}))}, "")
}

func BenchmarkGoModule(b *testing.B) {
	benchmarkRun(b, Program{Kind: protocol.Wasm, Module: goProgram(b)}, "")
}

func BenchmarkTrue(b *testing.B) {
	benchmarkRun(b, Program{Kind: protocol.Exec, Command: "true"}, "")
}

func BenchmarkStartChild(b *testing.B) {
	p := newTestPool(b, Config{Size: 1})
	for b.Loop() {
		p.mu.Lock()
		idle := p.idle
		p.idle = nil
		p.mu.Unlock()
		for _, c := range idle {
			p.end(c)
		}
		if _, err := p.Run(b.Context(), Run{Program: Program{Kind: protocol.Exec, Command: "true"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStreamModule(b *testing.B) {
	benchmarkRun(b, Program{Kind: protocol.Wasm, Module: goProgram(b)}, "cat\n"+strings.Repeat("0123456789abcde\n", 1<<20))
}

func BenchmarkStreamCommand(b *testing.B) {
	benchmarkRun(b, Program{Kind: protocol.Exec, Command: "cat"}, strings.Repeat("0123456789abcde\n", 1<<20))
}
