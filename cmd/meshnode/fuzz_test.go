package main

import (
	"strings"
	"testing"

	"github.com/meshnode/meshnode/protocol"
)

// FuzzArguments reads anything that a user may type for a size or a program.
func FuzzArguments(f *testing.F) {
	for _, text := range []string{"4096", "64MiB", "1.5G", "10MB", "9e99", "9223372036854775807", "x.wasm", "exec: sort -u", "func:count@1", ":"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := parseBytes(text); err == nil && n < 1 {
			t.Fatalf("%q is %d bytes", text, n)
		}
		p, err := parseProgram(text)
		if err != nil {
			return
		}
		if p.Kind == protocol.Wasm && p.Path != text || p.Kind != protocol.Wasm && strings.TrimSpace(p.Command+p.Func) == "" {
			t.Fatalf("%q is the program %+v", text, p)
		}
	})
}
