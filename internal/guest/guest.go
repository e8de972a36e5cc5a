package guest

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// ErrClosed is returned by Run once the pool is closed.
var ErrClosed = errors.New("the pool of guest processes is closed")

// maxCommand bounds a command: an argument of a process may have 128 KiB.
const maxCommand = 64 << 10

// Program is what a task runs.
type Program struct {
	Kind    protocol.ProgramKind // Wasm or Exec
	Module  string               // Wasm: path of a local, trusted .wasm file
	Command string               // Exec: for sh -c
	Files   []File               // laid in the task's private folder
}

// File is a file that travels with a program.
type File struct {
	Name string // a base name
	Path string // where its content is now
	Exec bool   // has the executable bit
}

// Limits bound one run. A field of zero or less means its default: 1 GiB of
// memory, 1 MiB of log, 4 GiB of output, 1 h. The memory of a wasm module is
// its linear memory and exact; that of a command is the resident memory of all
// its processes, sampled every 100 ms, shared pages counted once for each.
type Limits = protocol.Limits

// Run is one run of a program.
type Run struct {
	Program Program
	Limits  Limits
	Seed    [32]byte  // of a wasm module's random source
	Env     []string  // NAME=VALUE; of a command beside PATH, HOME and LANG, or in their place
	In      io.Reader // standard input; nil is empty
	Out     io.Writer // standard output; nil discards
}

// Report is what is known of a run, also of one that failed.
type Report struct {
	// Log is standard error. When it was longer than Limits.Log, its two ends
	// are kept, with a line between them that says how much is left out.
	Log        []byte
	Took       time.Duration // of the program, loading not counted
	PeakMemory int64         // bytes; of a command: the largest sample
}

// Error says how a program failed.
type Error struct {
	Kind protocol.FailKind
	Code int    // exit status, where Kind is FailExit
	Text string // one line for people
}

func (e *Error) Error() string { return e.Text }

func failure(kind protocol.FailKind, format string, args ...any) *Error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

func withDefaults(l Limits) Limits {
	set := func(field *int64, value int64) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Memory, 1<<30)
	set(&l.Log, 1<<20)
	set(&l.Output, 4<<30)
	set((*int64)(&l.Timeout), int64(time.Hour))
	return l
}

func (p Program) check() error {
	switch {
	case p.Kind == protocol.Wasm && p.Module != "":
	case p.Kind == protocol.Exec && p.Command != "":
	default:
		return failure(protocol.FailHost, "a program of kind %q without its content cannot run in a guest process", p.Kind)
	}
	if len(p.Command) > maxCommand {
		return failure(protocol.FailLoad, "the command has %d bytes, at most %d are allowed: ship a script with it instead", len(p.Command), maxCommand)
	}
	if len(p.Files) > protocol.MaxFiles {
		return failure(protocol.FailHost, "%d files travel with the program, at most %d may", len(p.Files), protocol.MaxFiles)
	}
	for _, f := range p.Files {
		if !baseName(f.Name) {
			return failure(protocol.FailHost, "a file named %q cannot be laid in the task's folder", f.Name)
		}
	}
	return nil
}

// baseName reports whether name stays in the folder it is laid in.
func baseName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > 255 {
		return false
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return false
		}
	}
	return true
}
