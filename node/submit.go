package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
	"github.com/meshnode/meshnode/storage"
)

// Defaults of a job.
const (
	defaultSplit   = 16 << 20
	defaultTimeout = time.Hour
	defaultMemory  = 1 << 30
	defaultLog     = 1 << 20
	defaultOutput  = 4 << 30
)

// submitTries is how many rounds of asking the stewards a submission makes:
// who they are may change under it.
const submitTries = 5

// Submit captures a job's programs, files and inputs, has them held by enough
// nodes, and hands the job to its stewards. When it returns, the job no longer
// needs this node. It fails with ErrInput and ErrNoCapableNode.
func (n *Node) Submit(ctx context.Context, spec JobSpec, progress Progress) (protocol.CID, error) {
	m, err := n.manifest(ctx, spec, progress)
	if err != nil {
		return "", err
	}
	m.Submitter = n.id
	if err := n.maySubmit(m); err != nil {
		return "", err
	}
	doc, err := protocol.SignManifest(*m, n.mesh.Key())
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInput, err)
	}
	id := protocol.JobID(doc)
	if err := n.keepManifest(ctx, doc); err != nil {
		return "", err
	}
	for try := 0; ; try++ {
		err = n.submitOnce(ctx, id, doc, m)
		if err == nil || errors.Is(err, ErrNoCapableNode) || ctx.Err() != nil || try == submitTries {
			return id, err
		}
		n.log.Info("submission to be repeated", "job", id, "error", err)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// submitOnce spreads what the job needs and asks its stewards, in rank order,
// to commit it.
func (n *Node) submitOnce(ctx context.Context, id protocol.CID, doc []byte, m *protocol.Manifest) error {
	if _, err := n.place(ctx, string(m.Splits), m.Closure(), m.Copies); err != nil {
		return fmt.Errorf("spreading what the job needs: %w", err)
	}
	return n.handOver(ctx, id, doc, m.Copies)
}

// handOver asks the job's stewards, in rank order, to commit it, and the next
// one too when one does not answer: two that commit the same job do no harm.
func (n *Node) handOver(ctx context.Context, id protocol.CID, doc []byte, copies int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	h := scheduler.NewHedge(1, scheduler.Stewards(string(id), 0, copies+maxHoldFailures, n.storing()), copies+maxHoldFailures)
	err := n.pursue(ctx, hedged{h}, func(ctx context.Context, a scheduler.Ask) (*protocol.Answer, error) {
		answer, err := n.caller.call(ctx, a.To, &protocol.Request{Submit: &protocol.Submit{Manifest: doc}}, holdWait)
		if err != nil && strings.HasPrefix(err.Error(), ErrNoCapableNode.Error()) { // no other will say better
			err = fmt.Errorf("%w%s", ErrNoCapableNode, strings.TrimPrefix(err.Error(), ErrNoCapableNode.Error()))
			cancel(err)
		}
		return answer, err
	})
	switch {
	case err != nil:
		return context.Cause(ctx)
	case len(h.Did()) == 0:
		return fmt.Errorf("no steward took the job: %s", h.Why())
	}
	return nil
}

// manifest captures what a job spec names and describes the job.
func (n *Node) manifest(ctx context.Context, spec JobSpec, progress Progress) (*protocol.Manifest, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	files, err := n.captureFiles(ctx, spec.Files)
	if err != nil {
		return nil, err
	}
	chain := scheduler.Chain{Partitions: max(1, spec.Partitions)}
	mapper, err := n.captureProgram(ctx, &spec.Map, files)
	if err != nil {
		return nil, err
	}
	chain.Map = *mapper
	if chain.Reduce, err = n.captureProgram(ctx, spec.Reduce, files); err != nil {
		return nil, err
	}
	if chain.Combine, err = n.captureProgram(ctx, spec.Combine, files); err != nil {
		return nil, err
	}
	if chain.Reduce == nil && (chain.Combine != nil || spec.Partitions > 0) {
		return nil, fmt.Errorf("%w: a combiner and partitions need a reduce program", ErrInput)
	}
	inputs, err := n.captureInputs(ctx, spec.Inputs, progress)
	if err != nil {
		return nil, err
	}
	split := spec.Split
	if split <= 0 {
		split = defaultSplit
	}
	table, t, err := storage.PlanSplits(ctx, n.anywhere(ctx, inputs), n.store, inputs, split)
	if err != nil {
		return nil, fmt.Errorf("planning the splits: %w", err)
	}
	chain.Splits = t.Count
	m := n.describe(spec, chain, inputs, table)
	m.Bytes = t.Bytes
	return m, nil
}

func (n *Node) describe(spec JobSpec, chain scheduler.Chain, inputs []protocol.CID, table protocol.CID) *protocol.Manifest {
	now := time.Now()
	until := now.Add(positive(spec.Expire, protocol.RunFor))
	m := &protocol.Manifest{
		Version: protocol.ManifestVersion, Nonce: make([]byte, 16), Name: spec.Name, Inputs: inputs, Splits: table,
		Stages: scheduler.Stages(chain), Copies: spec.Copies, Mode: spec.mode(chain),
		Limits: protocol.Limits{
			Memory: positive(spec.Memory, max(defaultMemory, spec.Require.Memory)), Log: positive(spec.LogLimit, defaultLog),
			Output: positive(spec.Output, defaultOutput), Timeout: positive(spec.Timeout, defaultTimeout),
		},
		Policy: spec.Policy, Require: spec.Require, Env: spec.Env,
		Created: now, RunUntil: until, KeepUntil: until.Add(positive(spec.Keep, protocol.KeepFor)),
	}
	_, _ = rand.Read(m.Nonce) // never fails
	if m.Copies == 0 {
		m.Copies = protocol.DefaultCopies
	}
	return m
}

func positive[T int64 | time.Duration](v, otherwise T) T {
	if v > 0 {
		return v
	}
	return otherwise
}

// captureFiles stores the files that travel with the programs.
func (n *Node) captureFiles(ctx context.Context, paths []string) ([]protocol.File, error) {
	var out []protocol.File
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInput, err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%w: %s is not a file; name each file that the program needs", ErrInput, path)
		}
		name := filepath.Base(path)
		if slices.ContainsFunc(out, func(f protocol.File) bool { return f.Name == name }) {
			return nil, fmt.Errorf("%w: two files are named %s; all lie in one folder beside the task", ErrInput, name)
		}
		added, err := n.importPath(ctx, path, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, protocol.File{Name: name, CID: added.Root, Exec: info.Mode()&0o111 != 0})
	}
	return out, nil
}

// captureProgram stores a program; .go sources are compiled first.
func (n *Node) captureProgram(ctx context.Context, spec *ProgramSpec, files []protocol.File) (*protocol.Program, error) {
	if spec == nil {
		return nil, nil
	}
	switch spec.Kind {
	case protocol.Exec:
		return &protocol.Program{Kind: protocol.Exec, Command: spec.Command, Files: files}, nil
	case protocol.Func:
		name, err := n.resolveFunc(spec.Func)
		if err != nil {
			return nil, err
		}
		return &protocol.Program{Kind: protocol.Func, Func: name}, nil
	case protocol.Wasm:
	default:
		return nil, fmt.Errorf("%w: a program of kind %q", ErrInput, spec.Kind)
	}
	module := spec.Path
	if filepath.Ext(module) == ".go" {
		out := filepath.Join(n.cfg.path("tmp"), rand.Text()+".wasm")
		defer os.Remove(out)
		if err := guest.CompileGo(ctx, module, out); err != nil {
			return nil, err
		}
		module = out
	}
	if err := guest.CheckWasm(module); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	added, err := n.importPath(ctx, module, nil)
	if err != nil {
		return nil, err
	}
	return &protocol.Program{Kind: protocol.Wasm, Module: added.Root, Files: files}, nil
}

// captureInputs imports paths, and checks that CIDs can be had.
func (n *Node) captureInputs(ctx context.Context, names []string, progress Progress) ([]protocol.CID, error) {
	if len(names) == 0 || len(names) > protocol.MaxInputs {
		return nil, fmt.Errorf("%w: %d inputs, 1 to %d", ErrInput, len(names), protocol.MaxInputs)
	}
	var out []protocol.CID
	for _, name := range names {
		if _, err := os.Lstat(name); err == nil {
			added, err := n.importPath(ctx, name, progress)
			if err != nil {
				return nil, err
			}
			out = append(out, added.Root)
			continue
		}
		c, err := protocol.ParseCID(name)
		if err != nil {
			return nil, fmt.Errorf("%w: %s is neither a file, nor a folder, nor a CID", ErrInput, name)
		}
		if !n.findable(ctx, c) {
			return nil, fmt.Errorf("%w: input %s", ErrNotFound, c)
		}
		out = append(out, c)
	}
	return out, nil
}

// reporter turns a Progress into what storage reports to: bytes so far.
func reporter(p Progress) func(int64) {
	if p == nil {
		return nil
	}
	return func(done int64) { p(done, 0) }
}
