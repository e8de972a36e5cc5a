package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxSource bounds a Go source file that is compiled, maxComplaint what is
// shown of the compiler's errors.
const (
	maxSource    = 16 << 20
	maxComplaint = 4 << 10
)

// CompileGo compiles the single-file Go program source for WASI preview 1 and
// writes the module to out. Equal sources and Go versions give equal modules,
// whatever the file's name and folder. The program may import the standard
// library only.
func CompileGo(ctx context.Context, source, out string) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("compiling %s needs the go tool, which is not in PATH: install Go, or compile it elsewhere (GOOS=wasip1 GOARCH=wasm go build -o x.wasm %s) and pass the .wasm", source, filepath.Base(source))
	}
	text, err := readSource(source)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "compile-go-")
	if err != nil {
		return fmt.Errorf("compiling %s: %w", source, err)
	}
	defer os.RemoveAll(dir)
	// Always the same name: it becomes part of the module, and names such as
	// x_test.go or x_linux.go mean something to the go tool.
	if err := os.WriteFile(filepath.Join(dir, "main.go"), text, 0o600); err != nil {
		return fmt.Errorf("compiling %s: %w", source, err)
	}
	cmd := exec.CommandContext(ctx, goTool, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", "main.wasm", "main.go")
	cmd.Dir = dir
	cmd.Env = buildEnv(dir)
	complaint, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return complain(source, complaint, err)
	}
	return publish(filepath.Join(dir, "main.wasm"), source, out)
}

// readSource reads a program's file and refuses what go build would take for a
// library and give no module for.
func readSource(source string) ([]byte, error) {
	info, err := os.Stat(source)
	if err != nil {
		return nil, fmt.Errorf("compiling a Go program: %w", err)
	}
	if info.IsDir() || info.Size() > maxSource {
		return nil, fmt.Errorf("compiling %s: a program is one .go file of at most %s", source, bytesText(maxSource))
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return nil, fmt.Errorf("compiling a Go program: %w", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), source, text, parser.PackageClauseOnly)
	if err != nil {
		return nil, fmt.Errorf("compiling %s: %w", source, err)
	}
	if file.Name.Name != "main" {
		return nil, fmt.Errorf("compiling %s: it is package %s; a program is package main with a func main", source, file.Name.Name)
	}
	return text, nil
}

// buildEnv is our environment without what would make a module depend on it.
// GOENV=off, because an empty variable falls back on that file.
func buildEnv(dir string) []string {
	env := append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GO111MODULE=off", "GOENV=off", "GOFLAGS=",
		"GOWORK=off", "GOTOOLCHAIN=local", "GOWASM=", "GOEXPERIMENT=", "GODEBUG=", "GOPATH="+filepath.Join(dir, "none"))
	if _, err := os.UserCacheDir(); err != nil && os.Getenv("GOCACHE") == "" {
		env = append(env, "GOCACHE="+filepath.Join(dir, "cache")) // a service without a home
	}
	return env
}

// complain shows the compiler's errors under the user's file name.
func complain(source string, complaint []byte, err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("compiling %s: %w", source, err)
	}
	var lines []string
	hint := ""
	for line := range strings.Lines(string(complaint)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") {
			continue // the name of a package that has none
		}
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(line, "./"), "main.go:"); ok {
			line = source + ":" + rest
		}
		if strings.Contains(line, "cannot find package") {
			line, _, _ = strings.Cut(line, " in any of:")
			hint = "\n(a .go program may import the standard library only; build others with GOOS=wasip1 GOARCH=wasm go build and pass the .wasm)"
		} else if strings.HasPrefix(line, "\t") && strings.Contains(line, "(from $GO") {
			continue
		}
		lines = append(lines, line)
	}
	text := strings.Join(lines, "\n")
	if len(text) > maxComplaint {
		text = text[:maxComplaint] + "\n..."
	}
	return fmt.Errorf("compiling %s failed:\n%s%s", source, text, hint)
}

// publish moves the module to out in one step.
func publish(module, source, out string) error {
	b, err := os.ReadFile(module)
	if err != nil {
		return fmt.Errorf("compiling %s gave no module: %w", source, err)
	}
	if err := checkWasm(bytes.NewReader(b), int64(len(b))); err != nil {
		return fmt.Errorf("compiling %s: the result %w", source, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".*.tmp")
	if err != nil {
		return fmt.Errorf("writing the module of %s: %w", source, err)
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), out)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("writing the module of %s: %w", source, err)
	}
	return nil
}
