package guest

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// loadTimeout bounds what comes before the program itself: compiling a module,
// copying its files. It is the host's trouble when they take that long.
const loadTimeout = 5 * time.Minute

// task is the parent's side of one run in one child.
type task struct {
	run     Run
	child   *child
	closing <-chan struct{}
	folder  string // of a command

	started chan struct{} // closed when the program itself begins
	done    chan struct{} // closed when the child has nothing more to say
	credits chan struct{} // how many input frames may be sent

	stopOnce sync.Once
	stopped  chan struct{} // closed by stop
	cause    error         // why; read it after stopped
	grace    *time.Timer

	log      *headTail
	begun    time.Time
	printed  int64
	result   *taskResult
	reusable bool // the child can take another task
	lost     bool // the child was gone before the program began
}

func newTask(c *child, r Run, closing <-chan struct{}) *task {
	t := &task{run: r, child: c, closing: closing, log: newHeadTail(r.Limits.Log),
		started: make(chan struct{}), done: make(chan struct{}), stopped: make(chan struct{}),
		credits: make(chan struct{}, window)}
	for range window {
		t.credits <- struct{}{}
	}
	if r.Program.Kind == protocol.Exec {
		t.folder = c.dirs.next()
	}
	return t
}

// carryOut runs the program and returns once nothing of it is left.
func (t *task) carryOut(ctx context.Context) (Report, error) {
	spec, err := t.spec()
	if err != nil {
		t.reusable = true
		return Report{}, err
	}
	var others sync.WaitGroup
	others.Go(func() { t.watch(ctx) })
	fed := make(chan bool, 1) // whether all input frames and their end were sent
	others.Go(func() { fed <- t.feed() })

	sendErr := t.child.send(frameTask, protocol.Encode(spec))
	if sendErr == nil {
		t.listen()
	}
	took := time.Duration(0)
	if !t.begun.IsZero() {
		took = time.Since(t.begun)
	}
	close(t.done)
	others.Wait()
	t.settle(<-fed)
	report := Report{Log: t.log.Bytes(), Took: took}
	if t.result != nil {
		report.PeakMemory = t.result.Peak
	}
	return report, t.verdict()
}

func (t *task) spec() (taskSpec, error) {
	p := t.run.Program
	spec := taskSpec{Kind: p.Kind, Module: p.Module, Command: p.Command, Folder: t.folder,
		Memory: t.run.Limits.Memory, Seed: t.run.Seed, Env: t.run.Env}
	// A child has the same working directory today; nothing holds it to that.
	var err error
	if spec.Module != "" {
		if spec.Module, err = filepath.Abs(spec.Module); err != nil {
			return spec, failure(protocol.FailHost, "finding the module: %v", err)
		}
	}
	for _, f := range p.Files {
		if f.Path, err = filepath.Abs(f.Path); err != nil {
			return spec, failure(protocol.FailHost, "finding the file %s: %v", f.Name, err)
		}
		spec.Files = append(spec.Files, f)
	}
	return spec, nil
}

// stop ends the program; the first cause counts.
func (t *task) stop(cause error) {
	t.stopOnce.Do(func() {
		t.cause = cause
		close(t.stopped)
		if t.run.Program.Kind != protocol.Exec {
			// Compiled code hears nothing.
			t.child.kill()
			return
		}
		t.grace = time.AfterFunc(endGrace, t.child.kill)
		_ = t.child.in.SetWriteDeadline(time.Now().Add(endGrace))
		if t.child.send(frameStop, nil) != nil {
			t.child.kill()
		}
	})
}

// watch stops the program when its time is over or nobody wants it any more.
func (t *task) watch(ctx context.Context) {
	timer := time.NewTimer(loadTimeout)
	defer timer.Stop()
	late := failure(protocol.FailHost, "the program did not begin within %v: loading it took too long on this machine", loadTimeout)
	begun := t.started
	for {
		select {
		case <-begun:
			limit := t.run.Limits.Timeout
			late = failure(protocol.FailTime, "the program ran longer than its time limit of %v", limit)
			timer.Reset(limit)
			begun = nil
		case <-timer.C:
			t.stop(late)
			return
		case <-ctx.Done():
			t.stop(ctx.Err())
			return
		case <-t.closing:
			t.stop(ErrClosed)
			return
		case <-t.done:
			return
		}
	}
}

// feed sends the input, as far as the program asks for it, and its end. It
// reports whether the child saw the end.
func (t *task) feed() bool {
	select {
	case <-t.started:
	case <-t.done:
		return t.child.send(frameInputEnd, nil) == nil
	}
	if t.run.In != nil {
		t.copyInput(make([]byte, chunkSize))
	}
	return t.child.send(frameInputEnd, nil) == nil
}

func (t *task) copyInput(buf []byte) {
	for {
		select {
		case <-t.credits:
		case <-t.done:
			return
		case <-t.stopped:
			return
		}
		n, err := t.run.In.Read(buf)
		if n > 0 && t.child.send(frameInput, buf[:n]) != nil {
			return // the listener learns why
		}
		if n == 0 && err == nil {
			t.credit()
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.stop(err)
			}
			return
		}
	}
}

// credit allows one more input frame.
func (t *task) credit() {
	select {
	case t.credits <- struct{}{}:
	default: // more than it can have; the window holds
	}
}

// listen takes what the child says until the task has ended or the child is
// gone.
func (t *task) listen() {
	buf := make([]byte, chunkSize)
	for {
		kind, content, err := t.child.receive(buf)
		if err != nil {
			return
		}
		switch kind {
		case frameStarted:
			if t.begun.IsZero() { // a child that says so twice must not end the node
				t.begun = time.Now()
				close(t.started)
			}
		case frameCredit:
			t.credit()
		case frameOutput:
			t.write(content)
		case frameLog:
			_, _ = t.log.Write(content)
		case frameResult:
			var r taskResult
			if protocol.Decode(content, &r) == nil {
				t.result = &r
			}
			return
		}
	}
}

// write passes output on, up to its limit.
func (t *task) write(content []byte) {
	select {
	case <-t.stopped:
		return
	default:
	}
	limit := t.run.Limits.Output
	over := t.printed+int64(len(content)) > limit
	if over {
		content = content[:limit-t.printed]
	}
	t.printed += int64(len(content))
	if t.run.Out != nil && len(content) > 0 {
		if _, err := t.run.Out.Write(content); err != nil {
			t.stop(err)
			return
		}
	}
	if over {
		t.stop(failure(protocol.FailOutput, "the program printed more than its limit of %d bytes", limit))
	}
}

// settle finds out whether the child can be used again and, when it is gone,
// removes what it could not.
func (t *task) settle(fed bool) {
	if t.grace != nil {
		t.grace.Stop()
		_ = t.child.in.SetWriteDeadline(time.Time{})
	}
	killed := t.cause != nil && t.run.Program.Kind != protocol.Exec
	if t.result != nil && fed && !t.result.Retire && !killed {
		t.reusable = true
		if t.run.Program.Kind == protocol.Wasm {
			t.child.used(t.run.Program.Module)
		}
		return
	}
	t.child.end()
	if t.folder != "" {
		killHomes(t.folder)
		_ = removeAll(t.folder)
	}
}

// verdict is what Run returns.
func (t *task) verdict() error {
	select {
	case <-t.stopped:
		return t.cause
	default:
	}
	switch {
	case t.result == nil:
		t.lost = t.begun.IsZero()
		return failure(protocol.FailHost, "the guest process ended while it ran the program (%s)", t.child.epitaph())
	case t.result.Kind != "":
		return &Error{Kind: t.result.Kind, Code: t.result.Code, Text: t.result.Text}
	}
	return nil
}
