//go:build ignore

// Compiles the modules beside their sources and writes modules.sum:
// go generate ./examples/wordcount
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/meshnode/meshnode/internal/guest"
)

func main() {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build() error {
	var sums []byte
	for _, name := range []string{"map", "reduce"} {
		if err := guest.CompileGo(context.Background(), name+".go", name+".wasm"); err != nil {
			return err
		}
		for _, file := range []string{name + ".go", name + ".wasm"} {
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			sums = fmt.Appendf(sums, "%x  %s\n", sha256.Sum256(b), file)
		}
	}
	return os.WriteFile("modules.sum", sums, 0o644)
}
