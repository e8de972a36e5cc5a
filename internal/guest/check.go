package guest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	wasiModule = "wasi_snapshot_preview1"
	// maxEntries bounds the imports and exports of a module that are looked
	// at, and maxName the length of their names; real ones have hundreds.
	maxEntries = 1 << 20
	maxName    = 64 << 10
	// maxSection bounds the sections that are read and not skipped.
	maxSection = 16 << 20
)

// Sections and kinds of the WebAssembly binary format,
// https://webassembly.github.io/spec/core/binary/modules.html
const (
	sectionImport = 2
	sectionExport = 7
	externFunc    = 0
	externTable   = 1
	externMemory  = 2
	externGlobal  = 3
	externTag     = 4
)

const (
	wasmMagic     = "\x00asm"
	wasmVersion   = "\x01\x00\x00\x00"
	wasmComponent = "\x0d\x00\x01\x00"
)

// CheckWasm checks quickly whether the file at path is a WASI preview 1 command:
// a wasm module that imports from wasi_snapshot_preview1 only and exports
// _start. The error says what is wrong and what to do. A module that passes may
// still fail to compile.
func CheckWasm(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading a wasm module: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("reading a wasm module: %w", err)
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder, not a wasm module", path)
	}
	if err := checkWasm(f, info.Size()); err != nil {
		return fmt.Errorf("%s %w", path, err)
	}
	return nil
}

func checkWasm(r io.ReadSeeker, size int64) error {
	if size > maxModule {
		return fmt.Errorf("has %d bytes, and a wasm module may have %d", size, maxModule)
	}
	s := &sectionReader{bufio.NewReader(r)}
	head := make([]byte, 8)
	if _, err := io.ReadFull(s, head); err != nil || string(head[:4]) != wasmMagic {
		return errors.New("is not a wasm module: pass a .wasm file, a .go file, or a command as exec:COMMAND")
	}
	if string(head[4:]) == wasmComponent {
		return errors.New("is a wasm component, not a core module: build it for WASI preview 1 (Rust: --target wasm32-wasip1)")
	}
	if string(head[4:]) != wasmVersion {
		return fmt.Errorf("is wasm of an unknown version %x, not 1", head[4:])
	}
	starts := false
	for {
		id, err := s.ReadByte()
		if errors.Is(err, io.EOF) {
			break
		}
		body, err := s.section(id)
		if err != nil {
			return fmt.Errorf("is a damaged wasm module: %w", err)
		}
		switch id {
		case sectionImport:
			err = checkImports(body)
		case sectionExport:
			starts, err = hasStart(body)
		}
		if err != nil {
			return err
		}
	}
	if !starts {
		return errors.New("exports no _start, so it is a library and not a program: build it as a command for WASI preview 1 (Go: GOOS=wasip1 GOARCH=wasm, without -buildmode=c-shared)")
	}
	return nil
}

// sectionReader reads the parts of a module. Numbers are LEB128.
type sectionReader struct{ *bufio.Reader }

// section reads the section id, or skips it when nobody looks at it.
func (s *sectionReader) section(id byte) (*sectionReader, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil || n > maxModule {
		return nil, errors.New("a section ends early")
	}
	if id != sectionImport && id != sectionExport {
		if _, err := s.Discard(int(n)); err != nil {
			return nil, errors.New("a section ends early")
		}
		return nil, nil
	}
	if n > maxSection {
		return nil, fmt.Errorf("a section of %d bytes, at most %d", n, maxSection)
	}
	var body bytes.Buffer
	if m, err := io.CopyN(&body, s, int64(n)); err != nil {
		return nil, fmt.Errorf("a section of %d bytes ends after %d", n, m)
	}
	return &sectionReader{bufio.NewReader(&body)}, nil
}

func (s *sectionReader) count() (int, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil || n > maxEntries {
		return 0, errDamaged
	}
	return int(n), nil
}

var errDamaged = errors.New("is a damaged wasm module: its imports or exports cannot be read")

func (s *sectionReader) name() (string, error) {
	n, err := binary.ReadUvarint(s)
	if err != nil || n > maxName {
		return "", errDamaged
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(s, b); err != nil {
		return "", errDamaged
	}
	return string(b), nil
}

func checkImports(s *sectionReader) error {
	n, err := s.count()
	if err != nil {
		return err
	}
	for range n {
		module, err1 := s.name()
		name, err2 := s.name()
		kind, err3 := s.ReadByte()
		if errors.Join(err1, err2, err3) != nil {
			return errDamaged
		}
		if module != wasiModule {
			return fmt.Errorf("imports %q from %q, and nodes offer %s only: %s", name, module, wasiModule, importHint(module))
		}
		if err := s.skipType(kind); err != nil {
			return err
		}
	}
	return nil
}

func importHint(module string) string {
	switch module {
	case "gojs", "go":
		return "build it with GOOS=wasip1, not GOOS=js"
	case "env":
		return "link everything into the module, with wasi-sdk or, for Emscripten, -sSTANDALONE_WASM"
	case "wasi_unstable":
		return "build it with a newer compiler"
	}
	return "build it for WASI preview 1 (Rust: --target wasm32-wasip1, Go: GOOS=wasip1 GOARCH=wasm, C: wasi-sdk)"
}

// skipType skips the type of an import.
func (s *sectionReader) skipType(kind byte) error {
	var err error
	number := func() uint64 {
		n, e := binary.ReadUvarint(s)
		err = errors.Join(err, e)
		return n
	}
	limits := func() {
		if number()&1 != 0 {
			number()
		}
		number()
	}
	switch kind {
	case externFunc:
		number()
	case externTable:
		number()
		limits()
	case externMemory:
		limits()
	case externGlobal, externTag:
		number()
		number()
	default:
		return errDamaged
	}
	if err != nil {
		return errDamaged
	}
	return nil
}

func hasStart(s *sectionReader) (bool, error) {
	n, err := s.count()
	if err != nil {
		return false, err
	}
	for range n {
		name, err1 := s.name()
		kind, err2 := s.ReadByte()
		_, err3 := binary.ReadUvarint(s)
		if errors.Join(err1, err2, err3) != nil {
			return false, errDamaged
		}
		if name == "_start" && kind == externFunc {
			return true, nil
		}
	}
	return false, nil
}
