package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/meshnode/meshnode/node"
)

// display shows on standard error how far something is: a live bar on a
// terminal, a line now and then elsewhere. One goroutine uses it.
type display struct {
	screen screen
	meter  meter
	now    func() time.Time
	names  names // of the nodes that a job's texts name
}

// screen is where a display draws.
type screen interface {
	// draw shows text; state is what a reader wants to know at once when it
	// changes.
	draw(now time.Time, text, state string, done, total int64)
	close()
}

// newDisplay returns a display of what is being done.
func newDisplay(stderr *os.File, what string) *display {
	d := &display{now: time.Now}
	if onTerminal(stderr) {
		d.screen = newBar(stderr, what)
	} else {
		d.screen = &lines{w: stderr, what: what, last: time.Now()}
	}
	return d
}

// onTerminal tells whether f is a terminal that can do more than print.
func onTerminal(f *os.File) bool {
	return cwriter.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// moved reports bytes; it is a node.Progress.
func (d *display) moved(done, total int64) {
	now := d.now()
	d.meter.add(sample{at: now, bytes: done})
	d.screen.draw(now, bytesText(done, total, d.meter.rate()), "", done, total)
}

// job reports a job.
func (d *display) job(st node.JobStatus) {
	now := d.now()
	d.meter.add(sample{now, st.BytesDone, st.Done})
	st.Waiting = d.names.in(st.Waiting)
	text := jobText(st, d.meter.rate(), d.meter.eta(st.Total))
	d.screen.draw(now, text, string(st.State)+st.Waiting, int64(st.Done), int64(st.Total))
}

// close leaves the terminal to what is printed next.
func (d *display) close() { d.screen.close() }

const (
	// lineEvery bounds how often lines are printed,
	lineEvery = time.Second
	// lifeEvery how long nothing is printed while something happens.
	lifeEvery = 10 * time.Second
	// decile is the change, in percent, that is worth a line.
	decile = 10
)

// lines prints a line when a tenth more is done, at most every second, and now
// and then otherwise.
type lines struct {
	w      io.Writer
	what   string
	last   time.Time // of the last line, or of the beginning
	tenths int64
	state  string
}

func (l *lines) draw(now time.Time, text, state string, done, total int64) {
	var tenths int64
	if total > 0 {
		tenths = int64(float64(done) / float64(total) * 100 / decile)
	}
	since := now.Sub(l.last)
	if state == l.state && (since < lineEvery || tenths == l.tenths && since < lifeEvery) {
		return
	}
	l.last, l.tenths, l.state = now, tenths, state
	fmt.Fprintf(l.w, "%s: %s\n", l.what, text)
}

func (l *lines) close() {}

// barWidth is the width of a bar without its text.
const barWidth = 24

// bar is a live progress bar.
type bar struct {
	all  *mpb.Progress
	bar  *mpb.Bar
	text atomic.Pointer[string] // read by the bar's goroutine
}

func newBar(stderr *os.File, what string) *bar {
	b := &bar{all: mpb.New(mpb.WithOutput(stderr))}
	b.bar = b.all.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarWidth(barWidth),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" ")),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			if text := b.text.Load(); text != nil {
				return " " + *text
			}
			return ""
		})),
	)
	return b
}

func (b *bar) draw(_ time.Time, text, _ string, done, total int64) {
	b.text.Store(&text)
	b.bar.SetTotal(total, false)
	b.bar.SetCurrent(done)
}

// close removes the bar.
func (b *bar) close() {
	b.bar.Abort(true)
	b.all.Wait()
}
