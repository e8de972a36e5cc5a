package main

import (
	"testing"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

func TestParseProgram(t *testing.T) {
	for text, want := range map[string]node.ProgramSpec{
		"x.wasm":            {Kind: protocol.Wasm, Path: "x.wasm"},
		"dir/a:b.wasm":      {Kind: protocol.Wasm, Path: "dir/a:b.wasm"},
		"./m.go":            {Kind: protocol.Wasm, Path: "./m.go"},
		"exec:python3 m.py": {Kind: protocol.Exec, Command: "python3 m.py"},
		"exec: cat a:b.go ": {Kind: protocol.Exec, Command: "cat a:b.go"},
		"func:sum":          {Kind: protocol.Func, Func: "sum"},
	} {
		if got, err := parseProgram(text); err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "x.py", "exec:", "exec: ", "func:", "Exec:cat", "http://x", "exec", "wasm:x"} {
		if got, err := parseProgram(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}
