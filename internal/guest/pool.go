package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// maxWaiting bounds the runs that wait for a child. Each is a goroutine of the
// caller, so this is only a guard against a caller without a bound of its own.
const maxWaiting = 1 << 16

// Config configures a pool. The zero value of a field means its default.
type Config struct {
	Size       int           // children at most; the number of cores
	Dir        string        // scratch and the cache of compiled modules, only ours to write; in the user's cache folder
	Executable string        // calls ServeIfChild first thing; os.Executable()
	Idle       time.Duration // a child unused for so long is ended; 30 s
	Logger     *slog.Logger  // discards
}

func (c Config) withDefaults() Config {
	if c.Size <= 0 {
		c.Size = runtime.NumCPU()
	}
	if c.Idle <= 0 {
		c.Idle = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Pool runs programs in at most Config.Size children, which are started on
// demand and kept warm.
type Pool struct {
	cfg     Config
	closing chan struct{}
	starter *starter

	mu       sync.Mutex // guards all below
	closed   bool
	live     int           // children that run, start or end
	idle     []*child      // the last used is the last
	waiting  []chan *child // first come, first served; nil is leave to start one
	folders  *folders      // once a run has needed them
	children sync.WaitGroup
}

// NewPool prepares a pool and starts nothing.
func NewPool(cfg Config) *Pool {
	return &Pool{cfg: cfg.withDefaults(), closing: make(chan struct{}), starter: newStarter()}
}

// Close ends every run with ErrClosed, ends all children and waits for them.
// It may be called twice.
func (p *Pool) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
		for _, c := range p.idle {
			c.timer.Stop()
			go p.end(c)
		}
		p.idle = nil
	}
	p.mu.Unlock()
	p.children.Wait()
	p.starter.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.folders
	p.folders = nil
	return f.close()
}

// Run waits for a child, runs one program in it and streams In to its standard
// input and its standard output to Out. It returns nil when the program ended
// with exit status 0, ctx.Err() when ctx ended first (the program is then
// killed at once), the error of In or Out if one failed, ErrClosed when the
// pool is closed, and otherwise an *Error. A program need not read all of its
// input.
//
// Whatever the command of a task started is killed at the end of the task. Run
// returns when no Read or Write of the caller's is under way, so an In or Out
// that may block for long must itself heed ctx.
func (p *Pool) Run(ctx context.Context, r Run) (Report, error) {
	if err := r.Program.check(); err != nil {
		return Report{}, err
	}
	r.Limits = withDefaults(r.Limits)
	for again := true; ; again = false {
		c, err := p.acquire(ctx, r.Program.Module)
		if err != nil {
			return Report{}, err
		}
		t := newTask(c, r, p.closing)
		report, err := t.carryOut(ctx)
		p.release(c, t.reusable)
		// A warm child may have been killed from outside (by the kernel that
		// ran out of memory, say) while nobody looked. Nothing has been read
		// or written yet, so a fresh one can take its place.
		if t.lost && again {
			continue
		}
		return report, err
	}
}

// acquire takes an idle child, preferring one that holds the module, or starts
// one, or waits its turn.
func (p *Pool) acquire(ctx context.Context, module string) (*child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	if c := p.takeIdle(module); c != nil {
		p.mu.Unlock()
		return c, nil
	}
	if p.live < p.cfg.Size {
		p.grow()
		p.mu.Unlock()
		return p.start()
	}
	if len(p.waiting) >= maxWaiting {
		p.mu.Unlock()
		return nil, failure(protocol.FailHost, "%d programs wait for a guest process already", maxWaiting)
	}
	turn := make(chan *child, 1)
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case c := <-turn:
		return p.accept(c)
	case <-ctx.Done():
		p.giveUp(turn)
		return nil, ctx.Err()
	case <-p.closing:
		p.giveUp(turn)
		return nil, ErrClosed
	}
}

// accept turns a turn into a child.
func (p *Pool) accept(c *child) (*child, error) {
	if c != nil {
		return c, nil
	}
	return p.start()
}

// giveUp leaves the queue, or passes on the turn that came meanwhile.
func (p *Pool) giveUp(turn chan *child) {
	p.mu.Lock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	if c := <-turn; c != nil {
		p.release(c, true)
	} else {
		p.shrink()
	}
}

// takeIdle is called with mu held.
func (p *Pool) takeIdle(module string) *child {
	for len(p.idle) > 0 {
		at := len(p.idle) - 1
		for i, c := range slices.Backward(p.idle) {
			if c.holds(module) {
				at = i
				break
			}
		}
		c := p.idle[at]
		p.idle = slices.Delete(p.idle, at, at+1)
		c.timer.Stop()
		if c.alive() {
			return c
		}
		go p.end(c)
	}
	return nil
}

// grow counts a child that is about to start. It is called with mu held.
func (p *Pool) grow() {
	p.live++
	p.children.Add(1)
}

// shrink counts a child that has ended and gives its place to whoever waits.
func (p *Pool) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.children.Done()
	p.live--
	if len(p.waiting) > 0 && !p.closed {
		turn := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.grow()
		turn <- nil
	}
}

// start starts the child that grow has counted.
func (p *Pool) start() (*child, error) {
	dirs, err := p.prepare()
	if err == nil {
		var c *child
		if c, err = startChild(p.cfg, p.starter, dirs); err == nil {
			p.cfg.Logger.Debug("guest process started", "pid", c.pid())
			return c, nil
		}
	}
	p.shrink()
	if errors.Is(err, ErrClosed) {
		return nil, err
	}
	return nil, failure(protocol.FailHost, "starting a guest process: %v", err)
}

// prepare makes the pool's folders when the first child needs them.
func (p *Pool) prepare() (*folders, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.folders != nil {
		return p.folders, nil
	}
	dir := p.cfg.Dir
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no folder for scratch files is configured, and there is no default: %w", err)
		}
		dir = filepath.Join(cache, "meshnode", "guest")
	}
	f, err := openFolders(dir)
	p.folders = f
	return f, err
}

// release takes a child back after a task.
func (p *Pool) release(c *child, reusable bool) {
	p.mu.Lock()
	if !reusable || p.closed || !c.alive() {
		p.mu.Unlock()
		p.end(c)
		return
	}
	defer p.mu.Unlock()
	if len(p.waiting) > 0 {
		turn := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		turn <- c
		return
	}
	p.idle = append(p.idle, c)
	c.timer = time.AfterFunc(p.cfg.Idle, func() { p.expire(c) })
}

// expire ends a child that was unused for long, unless it was just taken.
func (p *Pool) expire(c *child) {
	p.mu.Lock()
	at := slices.Index(p.idle, c)
	if at < 0 {
		p.mu.Unlock()
		return
	}
	p.idle = slices.Delete(p.idle, at, at+1)
	p.mu.Unlock()
	p.end(c)
}

func (p *Pool) end(c *child) {
	c.end()
	p.cfg.Logger.Debug("guest process ended", "pid", c.pid())
	p.shrink()
}
