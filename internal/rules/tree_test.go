package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the import path that every package of the tree begins with.
const module = "github.com/meshnode/meshnode"

// source is one Go file of the tree.
type source struct {
	name string // from the root, with slashes
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (s source) dir() string  { return path.Dir(s.name) }
func (s source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// line is where a node stands, for an error message.
func (s source) at(n ast.Node) token.Position {
	pos := s.fset.Position(n.Pos())
	pos.Filename = s.name
	return pos
}

// alone reports whether the file is a program of its own, kept out of its
// folder's package by a build constraint.
func (s source) alone() bool {
	for _, line := range strings.Split(s.text, "\n") {
		if strings.HasPrefix(line, "package ") {
			return false
		}
		if strings.HasPrefix(line, "//go:build ignore") {
			return true
		}
	}
	return false
}

// imports are the paths that the file imports.
func (s source) imports() []string {
	var out []string
	for _, spec := range s.ast.Imports {
		out = append(out, strings.Trim(spec.Path.Value, `"`))
	}
	return out
}

// root is the repository's root.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files returns the names, from the root, of the tree's files with one of the
// extensions. Hidden folders, test data and other modules are left out.
func files(t *testing.T, extensions ...string) []string {
	t.Helper()
	var out []string
	top := root(t)
	err := filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != top && foreign(name, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		for _, ext := range extensions {
			if strings.HasSuffix(name, ext) {
				rel, err := filepath.Rel(top, name)
				if err != nil {
					return err
				}
				out = append(out, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// foreign reports whether a folder is no part of the module's packages.
func foreign(name, base string) bool {
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

// read returns the text of a file named from the root.
func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sources parses every Go file of the tree. A file that does not parse is an
// error of its own and is left out.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	for _, name := range files(t, ".go") {
		s := source{name: name, text: read(t, name), fset: token.NewFileSet()}
		var err error
		s.ast, err = parser.ParseFile(s.fset, name, s.text, parser.ParseComments)
		if err != nil {
			t.Errorf("%s does not parse: %v", name, err)
			continue
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		t.Fatal("the tree has no Go files")
	}
	return out
}
