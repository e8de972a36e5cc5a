package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// workFunc is the name of the function that all tasks call.
const workFunc = "work"

// job is a batch as a mesh takes it.
type job struct {
	spec node.JobSpec
	want []byte
}

// newJob writes the input of a batch, one line a task: its number, and its
// length in nanoseconds. The result is each number with its square.
func newJob(dir string, b batch) (job, error) {
	var input, want bytes.Buffer
	for k, length := range b.lengths {
		fmt.Fprintf(&input, "%-*s\n", b.line-1, fmt.Sprintf("%d %d", k, length))
		fmt.Fprintf(&want, "%d %d\n", k, k*k)
	}
	path := filepath.Join(dir, b.name+".input")
	if err := os.WriteFile(path, input.Bytes(), 0o600); err != nil {
		return job{}, fmt.Errorf("writing the input: %w", err)
	}
	return job{want: want.Bytes(), spec: node.JobSpec{
		Name: b.name, Map: node.ProgramSpec{Kind: protocol.Func, Func: workFunc},
		Inputs: []string{path}, Split: int64(b.line), Mode: protocol.Strict,
		Policy: b.policy, Require: b.require,
	}}, nil
}

// spend passes the time of a task. It fails when ctx ends first.
type spend func(ctx context.Context, length time.Duration) error

// work is the program of all tasks; nodes differ in how they spend the time.
func work(pass spend) node.Func {
	return func(ctx context.Context, in io.Reader, out, _ io.Writer) error {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			var k int
			var length time.Duration
			if _, err := fmt.Sscan(lines.Text(), &k, &length); err != nil {
				return fmt.Errorf("reading a task: %w", err)
			}
			if err := pass(ctx, length); err != nil {
				return err
			}
			fmt.Fprintf(out, "%d %d\n", k, k*k)
		}
		return lines.Err()
	}
}

// sleep takes no processor, so that more slots than cores can be measured.
func sleep(ctx context.Context, length time.Duration) error {
	if length <= 0 {
		return nil
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// spin takes a whole processor.
func spin(ctx context.Context, length time.Duration) error {
	for began := time.Now(); time.Since(began) < length; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// stuttering lets another spend get on only outside its stalls.
func stuttering(pass spend) spend {
	return func(ctx context.Context, length time.Duration) error {
		for {
			phase := time.Duration(time.Now().UnixNano()) % stallEvery
			if phase < stallFor {
				if err := sleep(ctx, stallFor-phase); err != nil {
					return err
				}
				continue
			}
			part := min(length, stallEvery-phase)
			if err := pass(ctx, part); err != nil {
				return err
			}
			if length -= part; length <= 0 {
				return nil
			}
		}
	}
}
