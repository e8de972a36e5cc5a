package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// memoryEvery is how often the memory of a command's processes is
	// sampled, and firstSample when for the first time.
	memoryEvery = 100 * time.Millisecond
	firstSample = 20 * time.Millisecond
)

// command is one command that runs, with everything it starts.
type command struct {
	s    *server
	t    *childTask
	cmd  *exec.Cmd
	in   *os.File // our ends
	out  *os.File
	err  *os.File
	done chan struct{} // closed when sh has ended

	peak   atomic.Int64
	beyond atomic.Bool // its memory limit
}

// runExec runs sh -c COMMAND in a folder of its own.
func (s *server) runExec(t *childTask) taskResult {
	if err := s.enter(t.spec.Folder); err != nil {
		return failed(protocol.FailHost, "making the task's folder: %v", err)
	}
	defer s.exit()
	for _, f := range t.spec.Files {
		if err := lay(f, t.spec.Folder); err != nil {
			return failed(protocol.FailHost, "laying the file %s in the task's folder: %v", f.Name, err)
		}
	}
	// The death signal of sh is bound to this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c, err := s.startCommand(t)
	if err != nil {
		return failed(protocol.FailHost, "starting sh: %v", err)
	}
	return c.finish()
}

// enter makes the folder of a task, unless the parent is gone.
func (s *server) enter(folder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	s.folder = folder
	return nil
}

func (s *server) exit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = removeAll(s.folder) // the pool tries again when it closes
	s.folder, s.group = "", 0
}

// lay copies a file: a link would let the program write to the original.
func lay(f File, folder string) error {
	src, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer src.Close()
	mode := os.FileMode(0o600)
	if f.Exec {
		mode = 0o700
	}
	dst, err := os.OpenFile(filepath.Join(folder, f.Name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

func (s *server) startCommand(t *childTask) (*command, error) {
	c := &command{s: s, t: t, done: make(chan struct{})}
	c.cmd = exec.Command("sh", "-c", t.spec.Command)
	c.cmd.Dir = t.spec.Folder
	c.cmd.SysProcAttr = dieWithThread()
	c.cmd.Env = commandEnv(t.spec)
	theirs, err := c.pipes()
	defer closeAll(theirs)
	if err != nil {
		closeAll([]*os.File{c.in, c.out, c.err})
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := c.cmd.Start(); err != nil {
		closeAll([]*os.File{c.in, c.out, c.err})
		return nil, err
	}
	s.group = c.cmd.Process.Pid
	return c, nil
}

// pipes makes the three pipes and returns the command's ends.
func (c *command) pipes() ([]*os.File, error) {
	var theirs []*os.File
	for i, ours := range []**os.File{&c.in, &c.out, &c.err} {
		r, w, err := os.Pipe()
		if err != nil {
			return theirs, fmt.Errorf("making a pipe: %w", err)
		}
		if i == 0 {
			*ours = w
			c.cmd.Stdin = r
			theirs = append(theirs, r)
			continue
		}
		*ours = r
		theirs = append(theirs, w)
		if i == 1 {
			growPipe(w)
			c.cmd.Stdout = w
		} else {
			c.cmd.Stderr = w
		}
	}
	growPipe(c.in)
	return theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// finish streams until sh has ended, ends what it left, and says how it went.
func (c *command) finish() taskResult {
	if c.s.send(frameStarted, nil) != nil {
		c.s.leave()
	}
	var streams, watcher sync.WaitGroup
	streams.Go(c.copyInput)
	streams.Go(func() { c.copyOutput(frameOutput, c.out) })
	streams.Go(func() { c.copyOutput(frameLog, c.err) })
	watcher.Go(c.watch)

	state, err := c.cmd.Process.Wait()
	close(c.done)
	watcher.Wait()
	clean := killAll(c.cmd.Process.Pid)
	streams.Wait()
	closeAll([]*os.File{c.in, c.out, c.err})
	result := c.result(state, err)
	if !clean && result.Kind == "" {
		result = failed(protocol.FailHost, "processes that the command started could not be ended")
	}
	result.Peak = c.peak.Load()
	result.Retire = !clean
	return result
}

func (c *command) result(state *os.ProcessState, err error) taskResult {
	if err != nil {
		return failed(protocol.FailHost, "waiting for sh: %v", err)
	}
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		c.peak.Store(max(c.peak.Load(), maxResident(usage)))
	}
	if c.beyond.Load() {
		return failed(protocol.FailMemory, "the command's processes need more memory than its limit of %s", bytesText(c.t.spec.Memory))
	}
	status, _ := state.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled():
		return failed(protocol.FailTrap, "the command was ended by a signal: %v", status.Signal())
	case status.ExitStatus() != 0:
		r := failed(protocol.FailExit, "the command ended with exit status %d%s", status.ExitStatus(), meaning(status.ExitStatus()))
		r.Code = status.ExitStatus()
		return r
	}
	return taskResult{}
}

// meaning explains what sh says by an exit status.
func meaning(code int) string {
	switch {
	case code == 126:
		return " (found, but it cannot be executed)"
	case code == 127:
		return " (a command was not found on this node)"
	case code > 128 && code <= 128+64:
		return fmt.Sprintf(" (a process was ended by a signal: %v)", syscall.Signal(code-128))
	}
	return ""
}

// copyInput passes the input on until the command wants no more of it.
func (c *command) copyInput() {
	defer c.in.Close()
	for {
		var frame []byte
		var ok bool
		select {
		case frame, ok = <-c.t.input:
		case <-c.done:
			return
		}
		if !ok {
			return
		}
		if _, err := c.in.Write(frame); err != nil {
			return // it closed its standard input: not an error
		}
		c.s.recycle(frame)
		if c.s.send(frameCredit, nil) != nil {
			c.s.leave()
		}
	}
}

func (c *command) copyOutput(kind frameType, from *os.File) {
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		if n > 0 && c.s.send(kind, buf[:n]) != nil {
			c.s.leave()
		}
		if err != nil {
			return
		}
	}
}

// watch ends the command when the parent says so or its memory is beyond the
// limit.
func (c *command) watch() {
	timer := time.NewTimer(firstSample)
	defer timer.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-c.t.stop:
			killAll(c.cmd.Process.Pid)
			return
		case <-timer.C:
			timer.Reset(memoryEvery)
			used := resident(c.cmd.Process.Pid)
			c.peak.Store(max(c.peak.Load(), used))
			if used > c.t.spec.Memory {
				c.beyond.Store(true)
				killAll(c.cmd.Process.Pid)
				return
			}
		}
	}
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
