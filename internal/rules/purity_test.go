package rules

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// The decisions in scheduler are value in, value out, so that one seed replays
// one run. What would break that:
var (
	impurePackages = []string{"sync", "context", "log", "net", "os", "syscall", "crypto/rand", "runtime", "unsafe", "io/fs"}
	impureTime     = []string{"Now", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Since", "Until"}
	// All else in math/rand draws from a source of the whole process.
	pureRand = []string{"New", "NewPCG", "NewChaCha8", "NewSource", "NewZipf", "Rand", "Source", "Source64", "PCG", "ChaCha8", "Zipf"}
)

func TestSchedulerIsPure(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() || s.dir() != "scheduler" && !strings.HasPrefix(s.name, "scheduler/") {
			continue
		}
		for _, path := range s.imports() {
			if under(path, impurePackages...) {
				t.Errorf("%s imports %s: machines have no clock, lock, log or world; take it as an argument or return an effect", s.name, path)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if what := impure(s, n); what != "" {
				t.Errorf("%s: %s in scheduler: machines take now, events and a *rand.Rand, and return effects", s.at(n), what)
			}
			return true
		})
	}
}

// impure says what about the node cannot be replayed, or "".
func impure(s source, n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine"
	case *ast.ChanType, *ast.SendStmt, *ast.SelectStmt:
		return "a channel"
	case *ast.SelectorExpr:
		pkg, ok := n.X.(*ast.Ident)
		if !ok || pkg.Obj != nil { // a variable that shadows the package
			return ""
		}
		switch importedAs(s, pkg.Name) {
		case "time":
			if slices.Contains(impureTime, n.Sel.Name) {
				return "time." + n.Sel.Name
			}
		case "math/rand", "math/rand/v2":
			if !slices.Contains(pureRand, n.Sel.Name) {
				return "the global rand." + n.Sel.Name
			}
		}
	}
	return ""
}

// importedAs returns the path that the file imports under the name, or "".
func importedAs(s source, name string) string {
	for _, spec := range s.ast.Imports {
		path := strings.Trim(spec.Path.Value, `"`)
		base := strings.TrimSuffix(path, "/v2")
		base = base[strings.LastIndex(base, "/")+1:]
		if spec.Name != nil {
			base = spec.Name.Name
		}
		if base == name {
			return path
		}
	}
	return ""
}

// TestNoHiddenState holds two habits everywhere: nothing runs before main, and
// no struct remembers a context without a comment that says why it must.
func TestNoHiddenState(t *testing.T) {
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && n.Name.Name == "init" {
					t.Errorf("%s: an init function: do it where it is needed", s.at(n))
				}
			case *ast.StructType:
				for _, field := range n.Fields.List {
					sel, ok := field.Type.(*ast.SelectorExpr)
					said := field.Doc != nil || field.Comment != nil
					if ok && !said && sel.Sel.Name == "Context" && importedAs(s, ident(sel.X)) == "context" {
						t.Errorf("%s: a context in a struct: pass it to the methods that need it, or say beside it why that cannot be", s.at(field))
					}
				}
			}
			return true
		})
	}
}

func ident(x ast.Expr) string {
	if id, ok := x.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}
