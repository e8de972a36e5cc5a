package guest

import "encoding/binary"

const (
	opUnreachable = 0x00
	opCall        = 0x10
)

// growForEver grows the memory by 16 pages until it is refused, then traps.
var growForEver = []byte{
	0x03, 0x40, // loop
	0x41, 16, 0x40, 0x00, // memory.grow 16
	0x41, 0x7f, 0x47, // i32.const -1, i32.ne
	0x0d, 0x00, // br_if 0
	0x0b,
	opUnreachable,
}

// assembly is a module with one function, which takes and gives nothing.
type assembly struct {
	code    []byte
	pages   int    // of its memory at the start; 1
	imports string // module of an imported function
	export  string // the function's name; _start
}

func assemble(a assembly) []byte {
	if a.export == "" {
		a.export = "_start"
	}
	name := func(s string) []byte { return append(number(len(s)), s...) }
	function := 0
	out := []byte(wasmMagic + wasmVersion)
	section := func(id byte, body ...[]byte) {
		var all []byte
		for _, b := range body {
			all = append(all, b...)
		}
		out = append(append(append(out, id), number(len(all))...), all...)
	}
	section(1, []byte{1, 0x60, 0, 0})
	if a.imports != "" {
		section(sectionImport, []byte{1}, name(a.imports), name("f"), []byte{externFunc, 0})
		function = 1
	}
	section(3, []byte{1, 0})
	section(5, []byte{1, 0}, number(max(a.pages, 1)))
	section(sectionExport, []byte{2}, name(a.export), []byte{externFunc, byte(function)}, name("memory"), []byte{externMemory, 0})
	body := append(append([]byte{0}, a.code...), 0x0b)
	section(10, []byte{1}, number(len(body)), body)
	return out
}

func number(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }
