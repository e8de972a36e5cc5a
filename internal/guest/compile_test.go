package guest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/meshnode/meshnode/protocol"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const hello = "package main\n\nfunc main() { println(min(1, 2)) }\n"

func TestCompileGoIsReproducible(t *testing.T) {
	var modules [][]byte
	for _, name := range []string{"hello.go", "other_test.go"} {
		out := filepath.Join(t.TempDir(), "x.wasm")
		if err := CompileGo(t.Context(), writeFile(t, name, hello), out); err != nil {
			t.Fatal(err)
		}
		if err := CheckWasm(out); err != nil {
			t.Error(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		modules = append(modules, b)
	}
	if !bytes.Equal(modules[0], modules[1]) {
		t.Error("the same source under two names gave two modules")
	}
	p := newTestPool(t, Config{Size: 1})
	r := runWith(t, p, Run{Program: Program{Kind: protocol.Wasm, Module: moduleFile(t, modules[0])}}, "")
	wantKind(t, r, "")
	if string(r.Log) != "1\n" {
		t.Errorf("logged %q", r.Log)
	}
}

func TestCompileGoErrors(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         []string
	}{
		{"type error", "package main\n\nfunc main() { var x int = \"a\" }\n", []string{"prog.go:3:", "cannot use"}},
		{"syntax error", "package main\n\nfunc main() {\n", []string{"prog.go:", "syntax error"}},
		{"not main", "package lib\n", []string{"package lib", "package main"}},
		{"not Go", "hello", []string{"prog.go:1:1"}},
		{"no main", "package main\n", []string{"main"}},
		{"a module", "package main\n\nimport _ \"example.com/x\"\n\nfunc main() {}\n", []string{"prog.go:3:", "standard library only"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := writeFile(t, "prog.go", c.source)
			err := CompileGo(t.Context(), source, filepath.Join(t.TempDir(), "x.wasm"))
			if err == nil {
				t.Fatal("it compiled")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "compile-go-") {
				t.Errorf("the error shows our own folder: %q", err)
			}
		})
	}
}

func TestCompileGoWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := CompileGo(t.Context(), writeFile(t, "x.go", hello), filepath.Join(t.TempDir(), "x.wasm"))
	if err == nil || !strings.Contains(err.Error(), "install Go") {
		t.Errorf("got %v, want a hint to install Go", err)
	}
}

func TestCompileGoIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CompileGo(ctx, writeFile(t, "x.go", hello), filepath.Join(t.TempDir(), "x.wasm")); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	if err := CompileGo(t.Context(), filepath.Join(t.TempDir(), "none.go"), "x.wasm"); err == nil {
		t.Error("a missing file compiled")
	}
}

func TestCheckWasm(t *testing.T) {
	for _, c := range []struct {
		name   string
		module []byte
		want   string
	}{
		{"fine", assemble(assembly{}), ""},
		{"imports WASI", assemble(assembly{imports: wasiModule}), ""},
		{"imports gojs", assemble(assembly{imports: "gojs"}), "GOOS=wasip1"},
		{"imports env", assemble(assembly{imports: "env"}), "wasi-sdk"},
		{"a library", assemble(assembly{export: "add"}), "library"},
		{"empty", nil, "not a wasm module"},
		{"text", []byte("#!/bin/sh\n"), "not a wasm module"},
		{"a component", []byte(wasmMagic + wasmComponent), "component"},
		{"another version", []byte(wasmMagic + "\x02\x00\x00\x00"), "version"},
		{"cut", assemble(assembly{imports: "env"})[:20], "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := CheckWasm(moduleFile(t, c.module))
			if c.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	if err := CheckWasm(t.TempDir()); err == nil {
		t.Error("a folder passed")
	}
	if err := CheckWasm(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file passed")
	}
}

// FuzzCheckWasm: no file makes it panic or read for ever.
func FuzzCheckWasm(f *testing.F) {
	f.Add(assemble(assembly{imports: wasiModule}))
	f.Add(assemble(assembly{})[:30])
	f.Fuzz(func(t *testing.T, module []byte) {
		_ = checkWasm(bytes.NewReader(module), int64(len(module)))
	})
}
