package guest

import (
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/meshnode/meshnode/protocol"
)

// ServeIfChild serves tasks and exits, when a pool started this process as a
// guest child; otherwise it returns at once. It must be the first call of
// main, and of TestMain, before anything is opened or started.
func ServeIfChild() {
	cache := os.Getenv(childVar)
	if cache == "" {
		return
	}
	os.Unsetenv(childVar)
	os.Exit(serve(cache))
}

// server is the child's side of a child process. One goroutine listens to the
// parent, one runs tasks, one after another.
type server struct {
	*conn
	cache string
	tasks chan *childTask
	free  chan []byte // input buffers to use again
	wasm  *wasmRunner // of the goroutine that runs tasks

	mu      sync.Mutex // guards the fields below
	leaving bool       // the parent is gone: no process may be started any more
	folder  string     // of the command that runs
	group   int        // its process group
}

// childTask is a task and what has come for it.
type childTask struct {
	spec    taskSpec
	input   chan []byte   // closed at its end
	stop    chan struct{} // closed when the parent wants it ended
	stopped bool          // of the listener
	ended   bool          // of the listener: input is closed
}

func serve(cache string) int {
	lowerPriority()
	adoptOrphans()
	keepFilesToOurselves()
	in, out := childPipe(3), childPipe(4)
	if in == nil || out == nil {
		fmt.Fprintf(os.Stderr, "%s is set, but no pool started this process: unset it\n", childVar)
		return 1
	}
	s := &server{conn: newConn(in, out), cache: cache,
		tasks: make(chan *childTask, 1), free: make(chan []byte, window+1)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		<-signals
		s.leave()
	}()
	if s.send(frameHello, []byte(helloVersion)) != nil {
		return 1
	}
	go s.listen()
	for t := range s.tasks {
		result := s.run(t)
		if s.send(frameResult, protocol.Encode(result)) != nil {
			s.leave()
		}
	}
	return 0
}

// childPipe takes over an inherited descriptor.
func childPipe(fd int) *os.File {
	if syscall.SetNonblock(fd, true) != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "parent")
}

// listen takes what the parent says and never blocks on a task. When the
// parent is gone or makes no sense, everything here ends.
func (s *server) listen() {
	defer s.leave()
	var t *childTask
	for {
		kind, content, err := s.receive(s.buffer())
		if err != nil {
			return
		}
		switch {
		case kind == frameTask:
			t = &childTask{input: make(chan []byte, window), stop: make(chan struct{})}
			if protocol.Decode(content, &t.spec) != nil {
				return
			}
			s.tasks <- t
		case t == nil:
			return
		case kind == frameInput && !t.ended && len(t.input) < window:
			t.input <- content
			continue // the buffer is the task's now
		case kind == frameInputEnd && !t.ended:
			t.ended = true
			close(t.input)
		case kind == frameStop:
			if !t.stopped {
				t.stopped = true
				close(t.stop)
			}
		default:
			return
		}
		s.recycle(content)
	}
}

func (s *server) buffer() []byte {
	select {
	case b := <-s.free:
		return b
	default:
		return make([]byte, chunkSize)
	}
}

func (s *server) recycle(b []byte) {
	if cap(b) != chunkSize {
		return
	}
	select {
	case s.free <- b:
	default:
	}
}

func (s *server) run(t *childTask) taskResult {
	if t.spec.Kind == protocol.Exec {
		return s.runExec(t)
	}
	if s.wasm == nil {
		w, err := newWasmRunner(s.cache)
		if err != nil {
			return failed(protocol.FailHost, "starting the wasm runtime: %v", err)
		}
		s.wasm = w
	}
	return s.runWasm(t)
}

func failed(kind protocol.FailKind, format string, args ...any) taskResult {
	return taskResult{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// leave ends every process that a task started, removes its folder and exits.
func (s *server) leave() {
	s.mu.Lock() // for good: nothing may start any more
	s.leaving = true
	killAll(s.group)
	if s.folder != "" {
		_ = removeAll(s.folder)
	}
	os.Exit(0)
}
