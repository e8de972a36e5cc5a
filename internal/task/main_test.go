package task

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/storage"
)

func TestMain(m *testing.M) {
	guest.ServeIfChild()
	goleak.VerifyTestMain(m)
}

// blocks is a store in memory, and what a task reads through.
type blocks struct {
	mu     sync.Mutex
	data   map[protocol.CID][]byte
	full   bool // puts fail
	before func(protocol.CID)
}

var errFull = errors.New("no space left on device")

func newBlocks() *blocks { return &blocks{data: map[protocol.CID][]byte{}} }

func (b *blocks) Get(ctx context.Context, c protocol.CID) ([]byte, error) {
	if b.before != nil {
		b.before(c)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.data[c]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", c, storage.ErrNotFound)
	}
	return data, nil
}

func (b *blocks) Put(_ context.Context, c protocol.CID, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.full {
		return errFull
	}
	b.data[c] = bytes.Clone(data)
	return nil
}

func (b *blocks) forget(c protocol.CID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.data, c)
}

func (b *blocks) Getter([]protocol.Input) storage.Getter { return b }

func (b *blocks) Prefetch(context.Context, []protocol.CID, []protocol.Input) {}

func (b *blocks) Range(ctx context.Context, file protocol.CID, offset, length int64, sum protocol.Digest, _ protocol.Input, w io.Writer) error {
	f, err := storage.NewFile(ctx, b, file)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, hash), io.NewSectionReader(f, offset, length)); err != nil {
		return err
	}
	if protocol.Digest(hash.Sum(nil)) != sum {
		return errors.New("the hash does not match")
	}
	return nil
}

// fataler is a testing.T or a rapid.T.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (b *blocks) add(t fataler, content string) protocol.CID {
	t.Helper()
	root, _, err := storage.Write(context.Background(), b, bytes.NewReader([]byte(content)))
	if err != nil {
		t.Fatalf("adding a file: %v", err)
	}
	return root
}

func (b *blocks) read(t fataler, root protocol.CID) string {
	t.Helper()
	f, err := storage.NewFile(context.Background(), b, root)
	if err != nil {
		t.Fatalf("opening %s: %v", root, err)
	}
	content, err := io.ReadAll(f)
	if err != nil {
		t.Fatalf("reading %s: %v", root, err)
	}
	return string(content)
}

// job makes a manifest over files cut into splits of size bytes.
func (b *blocks) job(t fataler, files []string, size int64, stages ...protocol.Stage) *protocol.Manifest {
	t.Helper()
	m := &protocol.Manifest{
		Stages: stages,
		Limits: protocol.Limits{Memory: 1 << 30, Log: 1 << 16, Output: 1 << 30, Timeout: time.Minute},
	}
	for _, f := range files {
		m.Inputs = append(m.Inputs, b.add(t, f))
	}
	splits, table, err := storage.PlanSplits(context.Background(), b, b, m.Inputs, size)
	if err != nil {
		t.Fatalf("planning splits: %v", err)
	}
	m.Splits = splits
	m.Stages[0].Tasks = table.Count
	return m
}

// runAll runs every task of a job in order, each from the results of the stage
// before it, and returns the root.
func runAll(t fataler, r *Runner, m *protocol.Manifest) Output {
	t.Helper()
	var before, now []Output
	for s, stage := range m.Stages {
		before, now = now, nil
		for i := range stage.Tasks {
			w := Work{Manifest: m, Task: protocol.Key{Stage: s, Index: i}}
			first, n := 0, len(before)
			switch stage.Kind {
			case protocol.MergeStage:
				first, n = i*protocol.MergeArity, protocol.MergeArity
			case protocol.ConcatStage:
				first, n = i*protocol.ConcatWidth, protocol.ConcatWidth
			}
			for _, o := range before[min(first, len(before)):min(first+n, len(before))] {
				w.Inputs = append(w.Inputs, protocol.Input{CID: o.Result, Size: o.Size})
			}
			out, err := r.Run(context.Background(), w)
			if err != nil {
				t.Fatalf("running %s: %v", w.Task, err)
			}
			if out.Block != nil && !out.Result.Verify(out.Block) {
				t.Fatalf("the block of %s is not its result", w.Task)
			}
			now = append(now, out)
		}
	}
	return now[0]
}

// noScratch fails if anything but programs' files is left in the runner's
// folder.
func noScratch(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "scratch"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s was left behind", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func funcProgram(name string) *protocol.Program {
	return &protocol.Program{Kind: protocol.Func, Func: name}
}
