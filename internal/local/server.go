package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// Observer is the part of a node that tells about the mesh and lets others in.
type Observer interface {
	Status() node.Status
	Peers() []node.Peer
	Invite(o node.InviteOptions) (string, error)
}

// Files is the part of a node that moves files.
type Files interface {
	Add(ctx context.Context, path string, progress node.Progress) (node.Added, error)
	Cat(ctx context.Context, c protocol.CID, w io.Writer) error
	Get(ctx context.Context, c protocol.CID, path string, progress node.Progress) error
}

// Jobs is the part of a node that runs jobs.
type Jobs interface {
	Submit(ctx context.Context, spec node.JobSpec, progress node.Progress) (protocol.CID, error)
	Jobs(ctx context.Context) ([]node.JobStatus, error)
	JobStatus(ctx context.Context, job protocol.CID) (node.JobStatus, error)
	Wait(ctx context.Context, job protocol.CID, report func(node.JobStatus)) (node.JobStatus, error)
	Result(ctx context.Context, job protocol.CID, w io.Writer) (provisional bool, err error)
	ResultParts(ctx context.Context, job protocol.CID, path string) (provisional bool, err error)
	Logs(ctx context.Context, job protocol.CID, each func(node.LogEntry) error) error
	Cancel(ctx context.Context, job protocol.CID) error
}

// Explainer is the part of a node that tells what has happened to jobs.
type Explainer interface {
	FindTask(ctx context.Context, job protocol.CID, text string) (protocol.Key, error)
	Explain(ctx context.Context, job protocol.CID, task *protocol.Key) (node.Explanation, error)
}

// Node is what a Server serves; *node.Node is one.
type Node interface {
	Observer
	Files
	Jobs
	Explainer
}

var _ Node = (*node.Node)(nil)

// shutdownGrace is how long calls may take to notice that they were ended.
const shutdownGrace = 2 * time.Second

// Server serves a node to the processes of its user.
type Server struct {
	node  Node
	dir   string
	log   *slog.Logger
	ln    *guardedListener
	file  os.FileInfo // the socket's
	calls sync.WaitGroup

	stop     chan struct{} // closed by Close
	stopOnce sync.Once
	ended    chan struct{} // closed at the end of Run
	mu       sync.Mutex
	running  bool
	closed   bool // by Close, without Run
}

// New creates the socket in dir, and dir with mode 0700 if it is missing; Run
// serves. It fails with node.ErrInUse when another node serves dir. Whoever
// calls New calls Close.
func New(n Node, dir string, log *slog.Logger) (*Server, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the node's directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the node's directory: %w", err)
	}
	ln, file, err := bind(dir)
	if err != nil {
		return nil, err
	}
	check := func(c *net.UnixConn) error { return checkPeer(c, os.Getuid()) }
	return &Server{
		node: n, dir: dir, log: log, file: file,
		ln:   &guardedListener{UnixListener: ln, check: check, log: log},
		stop: make(chan struct{}), ended: make(chan struct{}),
	}, nil
}

// Run serves until ctx ends or Close is called, then ends all calls and waits
// for them. It may be called once; after Close it returns at once.
func (s *Server) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.closed || s.running {
		defer s.mu.Unlock()
		if s.running {
			return errors.New("the local server runs already")
		}
		return nil
	}
	s.running = true
	s.mu.Unlock()
	defer close(s.ended)

	// Calls end with ErrStopping as the cause, so that their clients learn why.
	calls, endCalls := context.WithCancelCause(context.WithoutCancel(ctx))
	server := &http.Server{
		Handler:           s.track(s.routes()),
		BaseContext:       func(net.Listener) context.Context { return calls },
		ReadHeaderTimeout: connectTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.ln) }()

	var err error
	select {
	case <-ctx.Done():
	case <-s.stop:
	case err = <-served:
		served <- http.ErrServerClosed
	}
	endCalls(ErrStopping)
	s.shutdown(ctx, server)
	<-served
	s.calls.Wait()
	return errors.Join(err, removeSocket(s.dir, s.file))
}

// shutdown closes the listener and lets the replies of ended calls out.
func (s *Server) shutdown(ctx context.Context, server *http.Server) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	if server.Shutdown(grace) != nil {
		_ = server.Close()
	}
}

// track lets Run wait for the handlers, which http.Server's Close does not.
func (s *Server) track(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		h.ServeHTTP(w, r)
	})
}

// Close ends Run and waits for it. It may be called twice, and without Run.
func (s *Server) Close() error {
	s.stopOnce.Do(func() { close(s.stop) })
	s.mu.Lock()
	if s.running {
		s.mu.Unlock()
		<-s.ended
		return nil
	}
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.ln.Close(), removeSocket(s.dir, s.file))
}
