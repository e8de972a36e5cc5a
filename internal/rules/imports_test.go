package rules

import (
	"slices"
	"strings"
	"testing"
)

// mayImport says which of our folders the packages of a folder may import,
// besides each other. Dependencies point down only.
var mayImport = map[string][]string{
	"protocol":  {},
	"scheduler": {"protocol"},
	"storage":   {"protocol"},
	"internal":  {"protocol", "scheduler", "storage", "node"},
	"node":      {"protocol", "scheduler", "storage", "internal"},
	"testnet":   {"protocol", "scheduler", "storage", "internal", "node"},
	"cmd":       {"protocol", "scheduler", "storage", "internal", "node", "testnet", "examples"},
	"bench":     {"protocol", "scheduler", "storage", "internal", "node", "testnet", "examples"},
	// Examples are what a stranger could write.
	"examples": {"protocol", "node"},
}

func TestImportsPointDown(t *testing.T) {
	for _, s := range sources(t) {
		from, _, nested := strings.Cut(s.name, "/")
		if !nested {
			t.Errorf("%s: the module's root holds no package", s.name)
			continue
		}
		allowed, known := mayImport[from]
		if !known {
			t.Errorf("%s: no rule says what %s/ may import; add it to mayImport", s.name, from)
			continue
		}
		for _, path := range s.imports() {
			rest, ours := strings.CutPrefix(path, module+"/")
			if !ours {
				continue
			}
			to, _, _ := strings.Cut(rest, "/")
			// Tests, and programs that only build something, may look down from
			// above. Nothing imports a command.
			if to == from || slices.Contains(allowed, to) || (s.isTest() || s.alone()) && to != "cmd" {
				continue
			}
			t.Errorf("%s imports %s: %s may import %v only", s.name, rest, from, allowed)
		}
	}
}

// TestProtocolDoesNoIO holds that what peers say to each other can be encoded
// and checked without touching a machine.
func TestProtocolDoesNoIO(t *testing.T) {
	for _, s := range sources(t) {
		if s.dir() != "protocol" || s.isTest() {
			continue
		}
		for _, path := range s.imports() {
			if under(path, "os", "net", "log", "context", "syscall") {
				t.Errorf("%s imports %s: protocol does no input or output", s.name, path)
			}
		}
	}
}

// under reports whether path is one of the packages or below one.
func under(path string, packages ...string) bool {
	for _, p := range packages {
		if path == p || strings.HasPrefix(path, p+"/") {
			return true
		}
	}
	return false
}
