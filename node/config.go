package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

// Errors that callers may want to tell apart.
var (
	// ErrUnknownJob: no live member that could be asked knows the job.
	ErrUnknownJob = errors.New("unknown job")
	// ErrUnknownTask: the job has no such task.
	ErrUnknownTask = errors.New("unknown task")
	// ErrNotFound: no live member holds a block that is needed.
	ErrNotFound = errors.New("not found on any live node")
	// ErrNotFinished: the job has no result yet.
	ErrNotFinished = errors.New("the job has no result yet")
	// ErrJobFailed: the job ended without a result.
	ErrJobFailed = errors.New("the job ended without a result")
	// ErrEnded: the job has ended, so nothing of it can be changed.
	ErrEnded = errors.New("the job has ended already")
	// ErrNoCapableNode: no live node can run a program of the job.
	ErrNoCapableNode = errors.New("no live node can run this program")
	// ErrInUse: another process uses the node's directory.
	ErrInUse = errors.New("another meshnode uses this directory")
	// ErrInput: what the caller named cannot be used.
	ErrInput = errors.New("bad input")
)

// Config configures a node. The zero value of a field means its default.
type Config struct {
	Dir       string          // home of the node's keys, blocks and scratch; required
	Name      string          // for people; the host's name
	Version   string          // of the program, for people; "devel"
	Listen    []string        // multiaddrs; /ip4/0.0.0.0/tcp/0
	Join      string          // a token; without one, and without a mesh in Dir, the node founds a mesh
	Slots     int             // tasks run at once; the number of cores
	Memory    int64           // bytes that tasks may be promised; 1 GiB a slot
	Labels    []string        // NAME or NAME=VALUE, which jobs may demand
	AllowExec bool            // run native commands of this mesh's members
	MDNS      bool            // look for members on the local network
	Funcs     map[string]Func // programs of kind func, by name
	Logger    *slog.Logger    // discards

	// Guests is a pool of child processes to share with other nodes of this
	// process: a machine needs one, bounded by its cores. The node starts and
	// ends one of its own when it is nil.
	Guests *guest.Pool
	// Testing leaves out what only pays in meshes that outlive their process:
	// bringing blocks to the disk itself, and refreshing the routing table.
	Testing bool
}

// Func is a Go function that runs as a program: a split on in, records on out.
// Its log is log. A non-nil error fails the task. Getenv tells it what its job
// sets, and for which task it runs.
type Func func(ctx context.Context, in io.Reader, out, log io.Writer) error

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name, _ = os.Hostname()
	}
	if c.Version == "" {
		c.Version = "devel"
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/0.0.0.0/tcp/0"}
	}
	if c.Slots == 0 {
		c.Slots = runtime.NumCPU()
	}
	if c.Memory == 0 {
		c.Memory = int64(c.Slots) << 30
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxSlots bounds the tasks that one node may run at once.
const maxSlots = 4096

func (c Config) validate() error {
	switch {
	case c.Dir == "":
		return fmt.Errorf("%w: a node needs a directory", ErrInput)
	case c.Slots < 0 || c.Slots > maxSlots:
		return fmt.Errorf("%w: %d slots, 1 to %d", ErrInput, c.Slots, maxSlots)
	case len(c.Name) > 64:
		return fmt.Errorf("%w: the name has %d bytes, at most 64", ErrInput, len(c.Name))
	case c.Memory < 0:
		return fmt.Errorf("%w: tasks cannot be promised %d bytes of memory", ErrInput, c.Memory)
	case len(c.Labels) > protocol.MaxLabels:
		return fmt.Errorf("%w: %d labels, at most %d", ErrInput, len(c.Labels), protocol.MaxLabels)
	}
	for _, l := range c.Labels {
		if err := CheckLabel(l); err != nil {
			return err
		}
	}
	return nil
}

func (c Config) path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// ServeChild serves tasks and never returns when this process was started as
// a child of a node; otherwise it returns at once. Call it first thing in main.
func ServeChild() { guest.ServeIfChild() }
