package task

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/internal/shuffle"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

// Config configures a Runner.
type Config struct {
	Store  storage.Putter  // keeps results
	Inputs Inputs          // reads what others made
	Guests Guests          // runs wasm and exec programs; nil runs none
	Funcs  map[string]Func // by the name that manifests use
	Dir    string          // for scratch, modules and programs' files; the Runner's alone
	// SortMemory is how many bytes a task sorts, or merges, without scratch;
	// 0 means shuffle.DefaultMemory.
	SortMemory int64
}

// Inputs is how a task reads what others made. Its methods may be called from
// any goroutine.
type Inputs interface {
	// Getter reads blocks: from the local store first, then from the holders
	// that in names, then from wherever they are.
	Getter(in []protocol.Input) storage.Getter
	// Range writes exactly the given bytes of a file to w and fails unless
	// they hash to sum. It looks where Getter looks.
	Range(ctx context.Context, file protocol.CID, offset, length int64, sum protocol.Digest, in protocol.Input, w io.Writer) error
	// Prefetch brings blocks here that Getter is about to be asked for. What
	// it cannot bring, Getter will say.
	Prefetch(ctx context.Context, blocks []protocol.CID, in []protocol.Input)
}

// Guests runs programs outside this process; guest.Pool does.
type Guests interface {
	Run(ctx context.Context, r guest.Run) (guest.Report, error)
}

// Func is a program that runs in this process: a split on in, records on out,
// its log on log. A non-nil error fails the task. It must return soon after its
// context has ended: a goroutine cannot be killed.
type Func func(ctx context.Context, in io.Reader, out, log io.Writer) error

// Work is a task to run.
type Work struct {
	Job      protocol.CID
	Manifest *protocol.Manifest // that has been checked
	Task     protocol.Key
	Inputs   []protocol.Input // the results it reads, in the order of their tasks
}

// Output is what a task gave.
type Output struct {
	Result protocol.CID
	Size   int64 // bytes of content behind Result
	// Block is the content of Result when that is one block of at most
	// protocol.MaxInline bytes without links to others, else nil.
	Block []byte
	Log   []byte // of its programs, in order
	Took  time.Duration
}

// Runner runs tasks.
type Runner struct {
	cfg     Config
	scratch string
	modules *cache
	files   *cache
}

const (
	keepModules = 64  // their compiled forms are kept by the guests
	keepFiles   = 512 // two programs with protocol.MaxFiles each

	maxModule = 256 << 20
	maxFile   = 4 << 30
)

// NewRunner returns a Runner. It starts nothing and touches no disk.
func NewRunner(cfg Config) *Runner {
	if cfg.SortMemory == 0 {
		cfg.SortMemory = shuffle.DefaultMemory
	}
	return &Runner{
		cfg:     cfg,
		scratch: filepath.Join(cfg.Dir, "scratch"),
		modules: newCache(filepath.Join(cfg.Dir, "modules"), ".wasm", keepModules, maxModule),
		files:   newCache(filepath.Join(cfg.Dir, "files"), "", keepFiles, maxFile),
	}
}

// Run runs a task and waits for it. It fails with a *Failed, or with the error
// of a context that has ended.
func (r *Runner) Run(ctx context.Context, w Work) (Output, error) {
	begin := time.Now()
	if k := w.Task; k.Stage < 0 || k.Stage >= len(w.Manifest.Stages) || k.Index < 0 || k.Index >= w.Manifest.Stages[k.Stage].Tasks {
		return Output{}, &Failed{Kind: protocol.FailHost, Text: fmt.Sprintf("task %s is not one of the job's", k)}
	}
	t := &running{
		r: r, w: w,
		stage: &w.Manifest.Stages[w.Task.Stage],
		get:   &tracker{Getter: r.cfg.Inputs.Getter(w.Inputs)},
		put:   &keeper{Putter: r.cfg.Store},
		log:   newEnds(w.Manifest.Limits.Log),
	}
	out, err := t.runAndWait(ctx)
	if err == nil {
		out.Block = t.put.block(out.Result)
		out.Log, out.Took = t.log.Bytes(), time.Since(begin)
		return out, nil
	}
	if ctx.Err() != nil {
		return Output{}, fmt.Errorf("running %s: %w", t, ctx.Err())
	}
	failed := *failedIn("", err)
	failed.Text = oneLine(fmt.Sprintf("%s: %s", t, failed.Text))
	failed.Log = t.log.Bytes()
	return Output{}, &failed
}

// Prefetch brings what a task will read first: the small files of a split, or
// the first blocks of results. What it cannot bring, Run will say.
func (r *Runner) Prefetch(ctx context.Context, w Work) {
	var blocks []protocol.CID
	if w.Manifest.Stages[w.Task.Stage].Kind == protocol.MapStage {
		ranges, err := storage.ReadSplit(ctx, r.cfg.Inputs.Getter(w.Inputs), w.Manifest.Splits, w.Task.Index)
		if err != nil {
			return
		}
		blocks = smallFiles(ranges)
	} else {
		for _, in := range w.Inputs {
			blocks = append(blocks, in.CID)
		}
	}
	r.cfg.Inputs.Prefetch(ctx, blocks, w.Inputs)
}

// running is one task while it runs.
type running struct {
	r     *Runner
	w     Work
	stage *protocol.Stage
	get   *tracker
	put   *keeper
	log   *ends
}

// runAndWait runs the task and ends the reading ahead that it began.
func (t *running) runAndWait(ctx context.Context) (Output, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer t.get.end()
	defer cancel()
	return t.run(ctx)
}

// String names the task for people.
func (t *running) String() string {
	return fmt.Sprintf("%s task %s", t.stage.Kind, t.w.Task)
}

func (t *running) run(ctx context.Context) (Output, error) {
	if err := os.MkdirAll(t.r.scratch, 0o700); err != nil {
		return Output{}, fmt.Errorf("making the scratch folder: %w", err)
	}
	if err := t.checkInputs(); err != nil {
		return Output{}, err
	}
	switch t.stage.Kind {
	case protocol.MapStage:
		return t.mapSplit(ctx)
	case protocol.MergeStage:
		return t.merge(ctx)
	case protocol.ReduceStage:
		return t.reduce(ctx)
	case protocol.ConcatStage:
		return t.concat(ctx)
	}
	return Output{}, &Failed{Kind: protocol.FailLoad, Text: fmt.Sprintf("stages of kind %q are unknown to this version", t.stage.Kind)}
}

// checkInputs refuses a task that was handed too few or too many inputs: its
// result would be wrong.
func (t *running) checkInputs() error {
	if t.stage.Kind == protocol.MapStage {
		return nil // it reads splits
	}
	before, width, first := t.w.Manifest.Stages[t.w.Task.Stage-1].Tasks, 0, 0
	switch t.stage.Kind {
	case protocol.MergeStage:
		width, first = protocol.MergeArity, t.w.Task.Index*protocol.MergeArity
	case protocol.ConcatStage:
		width, first = protocol.ConcatWidth, t.w.Task.Index*protocol.ConcatWidth
	default:
		width = before
	}
	if want := min(width, before-first); len(t.w.Inputs) != want {
		return fmt.Errorf("it was handed %d inputs and reads %d", len(t.w.Inputs), want)
	}
	return nil
}
