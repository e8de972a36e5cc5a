package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func TestJobText(t *testing.T) {
	two := map[peer.ID]int{"a": 1, "b": 2}
	for _, c := range []struct {
		st   node.JobStatus
		rate float64
		eta  time.Duration
		want string
	}{
		{node.JobStatus{State: protocol.StatePending}, 0, 0, "0/0 tasks, 0 running, 0 queued, 0 workers"},
		{
			node.JobStatus{State: protocol.StateRunning, Total: 40, Done: 12, Running: 4, Queued: 24, Workers: two},
			3 << 19, 12345 * time.Millisecond, "12/40 tasks, 4 running, 24 queued, 1.5 MiB/s, ETA 12s, 2 workers",
		},
		{
			node.JobStatus{State: protocol.StateRunning, Total: 2, Queued: 2, Waiting: "no node\x1b allows exec"},
			0, time.Millisecond, "0/2 tasks, 0 running, 2 queued, ETA 1s, 0 workers, waiting: no node? allows exec",
		},
		{node.JobStatus{State: protocol.StateProvisional, Total: 2, Done: 2, Workers: two}, 0, 0, "2/2 tasks, provisional, 2 workers"},
		{node.JobStatus{State: protocol.StateFailed, Total: 2, Done: 1, Waiting: "x"}, 0, 0, "1/2 tasks, failed, 0 workers"},
	} {
		if got := jobText(c.st, c.rate, c.eta); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestBytesText(t *testing.T) {
	for got, want := range map[string]string{
		bytesText(1, 0, 0):             "1 B",
		bytesText(1<<20, 4<<20, 1<<10): "1.0 MiB of 4.0 MiB, 1.0 KiB/s",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestDoneText(t *testing.T) {
	end := epoch.Add(2 * time.Second)
	st := node.JobStatus{Done: 2, Executions: 3, Workers: map[peer.ID]int{"a": 2}}
	if got, want := doneText(st, 1500*time.Millisecond), "2 tasks on 1 node in 1.5s, 1 run again"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	st.Executions, st.Started, st.Finished = 2, &epoch, &end
	if got, want := doneText(st, time.Hour), "2 tasks on 1 node in 2s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMeter(t *testing.T) {
	var m meter
	if m.rate() != 0 || m.eta(10) != 0 {
		t.Error("an empty meter knows something")
	}
	// 100 bytes and a task a second, then nothing for as long as the window.
	for i := range 20 {
		m.add(sample{epoch.Add(time.Duration(i) * time.Second), int64(100 * i), i})
	}
	if got := m.rate(); got != 100 {
		t.Errorf("rate %v", got)
	}
	if got := m.eta(29); got != 10*time.Second {
		t.Errorf("eta %v", got)
	}
	if m.eta(19) != 0 {
		t.Error("something is left of what is done")
	}
	for i := 20; i < 32; i++ {
		m.add(sample{epoch.Add(time.Duration(i) * time.Second), 1900, 19})
	}
	if got := m.rate(); got != 0 {
		t.Errorf("rate of a stalled job %v", got)
	}
	m.add(sample{epoch.Add(33 * time.Second), 0, 0}) // a node that forgot
	if m.rate() != 0 || m.eta(40) != 0 {
		t.Errorf("going backwards: %v, %v", m.rate(), m.eta(40))
	}
}

func TestMeterIsBounded(t *testing.T) {
	var m meter
	for i := range 100_000 {
		m.add(sample{epoch.Add(time.Duration(i) * time.Millisecond), int64(i), i})
	}
	if n := len(m.samples); n > maxSamples {
		t.Errorf("%d samples", n)
	}
	if got := m.rate(); got < 900 || got > 1100 {
		t.Errorf("rate %v, want about 1000", got)
	}
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	l := &lines{w: &out, what: "running", last: epoch}
	for _, c := range []struct {
		at    time.Duration
		state string
		done  int64
		shown bool
	}{
		{0, "running", 0, true},                        // a new state
		{500 * time.Millisecond, "running", 50, false}, // too soon
		{time.Second, "running", 50, true},
		{3 * time.Second, "running", 59, false}, // not a tenth more
		{4 * time.Second, "running", 60, true},
		{13 * time.Second, "running", 60, false},
		{14 * time.Second, "running", 60, true}, // a sign of life
		{14100 * time.Millisecond, "final", 100, true},
	} {
		out.Reset()
		l.draw(epoch.Add(c.at), "text", c.state, c.done, 100)
		want := ""
		if c.shown {
			want = "running: text\n"
		}
		if out.String() != want {
			t.Errorf("at %v: got %q, want %q", c.at, out.String(), want)
		}
	}
}

func TestQuickTransferPrintsNothing(t *testing.T) {
	var out bytes.Buffer
	l := &lines{w: &out, what: "adding", last: epoch}
	l.draw(epoch.Add(900*time.Millisecond), "text", "", 10, 10)
	l.draw(epoch.Add(900*time.Millisecond), "text", "", 10, 0)
	if out.Len() > 0 {
		t.Errorf("got %q", out.String())
	}
}

// TestBar holds that a bar ends, and that it may be closed before it drew.
func TestBar(t *testing.T) {
	for _, draws := range []int{0, 3} {
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		b := newBar(f, "running")
		for i := range draws {
			b.draw(epoch, "text", "", int64(i), 2)
		}
		b.close()
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPlainWithoutATerminal(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	d := newDisplay(f, "running")
	d.job(node.JobStatus{State: protocol.StateRunning, Total: 3})
	d.close()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "running: 0/3 tasks") || strings.Contains(string(text), "\x1b") {
		t.Errorf("got %q", text)
	}
}
