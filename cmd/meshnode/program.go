package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// programForms is what a program's text may look like.
const programForms = "a program is x.wasm, x.go (compiled here), exec:COMMAND ARGS, or func:NAME"

// parseProgram reads the text of --map, --reduce and --combine.
func parseProgram(text string) (node.ProgramSpec, error) {
	scheme, rest, _ := strings.Cut(text, ":")
	rest = strings.TrimSpace(rest)
	switch {
	case scheme == "exec" && rest != "":
		return node.ProgramSpec{Kind: protocol.Exec, Command: rest}, nil
	case scheme == "func" && rest != "":
		return node.ProgramSpec{Kind: protocol.Func, Func: rest}, nil
	case scheme == "exec" || scheme == "func":
		return node.ProgramSpec{}, fmt.Errorf("the program %q names nothing after the colon", text)
	case strings.HasSuffix(text, ".wasm") || strings.HasSuffix(text, ".go"):
		return node.ProgramSpec{Kind: protocol.Wasm, Path: text}, nil
	}
	return node.ProgramSpec{}, fmt.Errorf("%q is no program", text)
}

// wasmMagic begins every WebAssembly module.
const wasmMagic = "\x00asm"

// checkProgram holds that a program's file is there and what its name says.
func checkProgram(p *node.ProgramSpec) error {
	if p == nil || p.Path == "" {
		return nil
	}
	if err := mustBeFile(p.Path); err != nil {
		return err
	}
	if !strings.HasSuffix(p.Path, ".wasm") {
		return nil
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, len(wasmMagic))
	if n, _ := io.ReadFull(f, magic); string(magic[:n]) != wasmMagic {
		return hinted(fmt.Errorf("%s is not a WebAssembly module", p.Path),
			"build one with: GOOS=wasip1 GOARCH=wasm go build -o x.wasm; or name the .go file itself")
	}
	return nil
}

// mustBeFile fails unless path is there and no folder.
func mustBeFile(path string) error {
	if err := mustExist(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return hinted(errors.New(path+" is a folder, and a file is needed"), "name a file in it")
	}
	return err
}
