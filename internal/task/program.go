package task

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/meshnode/meshnode/internal/guest"
	"github.com/meshnode/meshnode/protocol"
)

// programBuffer collects small reads and writes between programs and the rest.
const programBuffer = 64 << 10

// errNoGuests is for a node that was configured without a pool.
var errNoGuests = errors.New("this node runs neither wasm modules nor commands")

// reads says what a run of a program reads. Runs of one program that read the
// same get the same seed, in any job.
type reads struct {
	_         struct{} `cbor:",toarray"`
	Ranges    []protocol.Range
	Inputs    []protocol.CID
	Partition int
}

func seed(p *protocol.Program, from reads) [32]byte {
	return sha256.Sum256(append(protocol.Encode(p), protocol.Encode(from)...))
}

// program runs p over in, unless in is empty. Role says which of the task's
// programs it is, "" for its main one.
func (t *running) program(ctx context.Context, role string, p *protocol.Program, from reads, in io.Reader, out io.Writer) error {
	source, sink := &faultReader{r: in}, &faultWriter{w: out}
	buffered := bufio.NewReaderSize(source, programBuffer)
	if _, err := buffered.Peek(1); err != nil {
		if errors.Is(err, io.EOF) && source.err == nil {
			return nil
		}
		return failedIn(role, err)
	}
	log, err := t.start(ctx, p, from, buffered, sink)
	_, _ = t.log.Write(log) // it never fails
	switch {
	case source.err != nil:
		return failedIn(role, source.err) // whatever the program made of a cut input
	case sink.err != nil:
		return failedIn(role, sink.err)
	case err != nil:
		return failedIn(role, err)
	}
	return nil
}

// start runs p by its kind and returns its log.
func (t *running) start(ctx context.Context, p *protocol.Program, from reads, in io.Reader, out io.Writer) ([]byte, error) {
	if p.Kind == protocol.Func {
		return runFunc(withEnv(ctx, t.env()), t.r.cfg.Funcs, p.Func, t.w.Manifest.Limits, in, out)
	}
	if t.r.cfg.Guests == nil {
		return nil, errNoGuests
	}
	program, release, err := t.prepare(ctx, p)
	if err != nil {
		return nil, err
	}
	defer release()
	report, err := t.r.cfg.Guests.Run(ctx, guest.Run{
		Program: program,
		Limits:  t.w.Manifest.Limits,
		Seed:    seed(p, from),
		Env:     t.env(),
		In:      in,
		Out:     out,
	})
	return report.Log, err
}

// prepare brings the program's module and files to this disk, where they stay
// until release is called.
func (t *running) prepare(ctx context.Context, p *protocol.Program) (guest.Program, func(), error) {
	out := guest.Program{Kind: p.Kind, Command: p.Command}
	var releases []func()
	release := func() {
		for _, r := range releases {
			r()
		}
	}
	fetch := func(c *cache, name protocol.CID) (string, error) {
		path, done, err := c.fetch(ctx, t.get, name)
		if err == nil {
			releases = append(releases, done)
		}
		return path, err
	}
	var err error
	if p.Kind == protocol.Wasm {
		if out.Module, err = fetch(t.r.modules, p.Module); err != nil {
			release()
			return out, nil, err
		}
	}
	for _, f := range p.Files {
		path, err := fetch(t.r.files, f.CID)
		if err != nil {
			release()
			return out, nil, err
		}
		out.Files = append(out.Files, guest.File{Name: f.Name, Path: path, Exec: f.Exec})
	}
	return out, release, nil
}
