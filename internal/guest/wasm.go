package guest

import (
	"bytes"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// programName is a module's argument 0: the same on every node, unlike
	// the path of the module.
	programName = "program"
	// maxModule bounds a module's file; Go programs have 2 to 20 MB.
	maxModule = 256 << 20
	// maxTrap bounds the text of a trap, which ends in a stack trace.
	maxTrap = 2 << 10
)

// wasmRunner keeps the runtime and the modules compiled last. It is used by
// the one goroutine that runs tasks.
type wasmRunner struct {
	runtime wazero.Runtime
	files   map[fileKey]moduleKey // what the files seen before hold
	modules map[moduleKey]*list.Element
	recent  *list.List // of *module, the last used in front
}

// maxFiles bounds the files whose content is remembered: each node of a
// process has a file of its own for the same module.
const maxFiles = 1024

// fileKey tells one content of a file from another.
type fileKey struct {
	path  string
	size  int64
	mtime int64
}

// moduleKey is the hash of a module.
type moduleKey [sha256.Size]byte

type module struct {
	key      moduleKey
	compiled wazero.CompiledModule
}

func newWasmRunner(cache string) (*wasmRunner, error) {
	files, err := wazero.NewCompilationCacheWithDir(cache)
	if err != nil {
		return nil, err
	}
	// Not WithCloseOnContextDone: it makes guests six to nine times slower,
	// and the parent kills this process instead.
	cfg := wazero.NewRuntimeConfigCompiler().WithCompilationCache(files).WithDebugInfoEnabled(false)
	r := wazero.NewRuntimeWithConfig(context.Background(), cfg)
	if _, err := wasi_snapshot_preview1.Instantiate(context.Background(), r); err != nil {
		return nil, err
	}
	return &wasmRunner{runtime: r, files: map[fileKey]moduleKey{}, modules: map[moduleKey]*list.Element{}, recent: list.New()}, nil
}

// load returns the module at path compiled.
func (w *wasmRunner) load(ctx context.Context, path string) (wazero.CompiledModule, *taskResult) {
	fail := func(kind protocol.FailKind, format string, err error) (wazero.CompiledModule, *taskResult) {
		r := failed(kind, format, err)
		return nil, &r
	}
	info, err := os.Stat(path)
	if err != nil {
		return fail(protocol.FailHost, "reading the module: %v", err)
	}
	file := fileKey{path, info.Size(), info.ModTime().UnixNano()}
	if c := w.known(w.files[file]); c != nil {
		return c, nil
	}
	if info.Size() > maxModule {
		return fail(protocol.FailLoad, "%v", fmt.Errorf("the module has %d bytes, at most %d are allowed", info.Size(), maxModule))
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return fail(protocol.FailHost, "reading the module: %v", err)
	}
	key := moduleKey(sha256.Sum256(binary))
	if len(w.files) >= maxFiles {
		clear(w.files)
	}
	w.files[file] = key
	if c := w.known(key); c != nil {
		return c, nil
	}
	begun := time.Now()
	compiled, err := w.runtime.CompileModule(experimental.WithCompilationWorkers(ctx, runtime.NumCPU()), binary)
	if err != nil {
		return fail(protocol.FailLoad, "the module cannot be compiled: %v", err)
	}
	if time.Since(begun) > 200*time.Millisecond {
		debug.FreeOSMemory() // compiling took hundreds of megabytes
	}
	w.keep(&module{key, compiled})
	return compiled, nil
}

// known returns a module that is compiled already, or nil.
func (w *wasmRunner) known(key moduleKey) wazero.CompiledModule {
	e := w.modules[key]
	if e == nil {
		return nil
	}
	w.recent.MoveToFront(e)
	return e.Value.(*module).compiled
}

func (w *wasmRunner) keep(m *module) {
	if w.recent.Len() >= maxModules {
		oldest := w.recent.Remove(w.recent.Back()).(*module)
		delete(w.modules, oldest.key)
		_ = oldest.compiled.Close(context.Background())
	}
	w.modules[m.key] = w.recent.PushFront(m)
}

// runWasm runs one module to its end on a thread that dies with the parent:
// while compiled code runs, this process may not even notice that its parent is
// gone.
func (s *server) runWasm(t *childTask) (result taskResult) {
	ctx := context.Background()
	compiled, bad := s.wasm.load(ctx, t.spec.Module)
	if bad != nil {
		return *bad
	}
	if compiled.ExportedFunctions()["_start"] == nil {
		return failed(protocol.FailLoad, "the module exports no _start: build it as a command for WASI preview 1 (Go: GOOS=wasip1 GOARCH=wasm)")
	}
	memory := &memoryLimit{limit: uint64(t.spec.Memory)}
	out := &output{s: s}
	cfg := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(programName).
		WithStdin(&input{s: s, t: t, idle: out.flush}).WithStdout(out).WithStderr(logWriter{s}).
		WithRandSource(rand.NewChaCha8(t.spec.Seed)).
		WithFSConfig(wazero.NewFSConfig().WithFSMount(newFileSystem(t.spec.Files), "/"))
	for _, e := range t.spec.Env {
		name, value, _ := strings.Cut(e, "=")
		cfg = cfg.WithEnv(name, value)
	}

	release := dieWithParent()
	defer release()
	if s.send(frameStarted, nil) != nil {
		s.leave()
	}
	defer func() {
		// A memory that is too small from the start can only be refused by a
		// panic, which may leave the runtime in no good state.
		if r := recover(); r != nil {
			result = memory.judge(failed(protocol.FailHost, "the wasm runtime failed: %v", r))
			result.Retire = true
		}
	}()
	instance, err := s.wasm.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, memory), compiled, cfg)
	if err != nil {
		result = failed(protocol.FailLoad, "the module cannot be started: %s; it may import nothing but wasi_snapshot_preview1", oneLine(err))
		if strings.HasPrefix(err.Error(), "start ") {
			result = trap(err) // in the module's own start function
		}
		result.Retire = true // what it had got so far is not given back
		return memory.judge(result)
	}
	err = call(ctx, instance)
	_ = instance.Close(ctx)
	out.flush()
	if err != nil {
		return memory.judge(trap(err))
	}
	return taskResult{Peak: memory.peak}
}

func call(ctx context.Context, instance api.Module) error {
	_, err := instance.ExportedFunction("_start").Call(ctx)
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		return nil
	}
	return err
}

// trap says how a module's code ended that did not end well.
func trap(err error) taskResult {
	var exit *sys.ExitError
	if errors.As(err, &exit) {
		r := failed(protocol.FailExit, "the program ended with exit status %d", exit.ExitCode())
		r.Code = int(exit.ExitCode())
		return r
	}
	return failed(protocol.FailTrap, "the program trapped: %s", oneLine(err))
}

// oneLine joins the lines of a wasm stack trace.
func oneLine(err error) string {
	var b bytes.Buffer
	for line := range strings.Lines(err.Error()) {
		if b.Len() > 0 {
			b.WriteString(" | ")
		}
		b.WriteString(strings.TrimSpace(line))
	}
	return strings.ToValidUTF8(string(b.Bytes()[:min(b.Len(), maxTrap)]), "")
}
