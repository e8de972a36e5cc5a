package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

const (
	// rateWindow is how far back the rate looks: short enough to follow a
	// change, long enough to bridge the gaps between large tasks.
	rateWindow = 10 * time.Second
	// maxSamples bounds what the meter keeps of its window.
	maxSamples = 64
)

// meter measures how fast a job or a transfer goes.
type meter struct {
	first   sample
	samples []sample
}

type sample struct {
	at    time.Time
	bytes int64
	tasks int
}

func (m *meter) add(s sample) {
	if len(m.samples) == 0 {
		m.first = s
	}
	if n := len(m.samples); n > 1 && s.at.Sub(m.samples[n-2].at) < rateWindow/maxSamples {
		m.samples[n-1] = s // too soon for a sample of its own
		return
	}
	m.samples = append(m.samples, s)
	for len(m.samples) > maxSamples || s.at.Sub(m.samples[0].at) > rateWindow && len(m.samples) > 2 {
		m.samples = m.samples[1:]
	}
}

// rate is the bytes per second of the last rateWindow; 0 while it is unknown.
func (m *meter) rate() float64 {
	if len(m.samples) < 2 {
		return 0
	}
	from, to := m.samples[0], m.samples[len(m.samples)-1]
	took := to.at.Sub(from.at).Seconds()
	if took <= 0 || to.bytes < from.bytes {
		return 0
	}
	return float64(to.bytes-from.bytes) / took
}

// eta is how long the tasks that are left will take at the pace so far; 0 while
// that is unknown.
func (m *meter) eta(total int) time.Duration {
	if len(m.samples) == 0 {
		return 0
	}
	last := m.samples[len(m.samples)-1]
	done, left := last.tasks-m.first.tasks, total-last.tasks
	if done <= 0 || left <= 0 {
		return 0
	}
	return time.Duration(float64(last.at.Sub(m.first.at)) / float64(done) * float64(left))
}

// jobText is one line on how far a job is.
func jobText(st node.JobStatus, rate float64, eta time.Duration) string {
	parts := []string{fmt.Sprintf("%d/%d tasks", st.Done, st.Total)}
	if st.State == protocol.StatePending || st.State == protocol.StateRunning {
		parts = append(parts, fmt.Sprintf("%d running", st.Running), fmt.Sprintf("%d queued", st.Queued))
	} else {
		parts = append(parts, string(st.State))
	}
	if rate >= 1 {
		parts = append(parts, formatBytes(int64(rate))+"/s")
	}
	if eta > 0 {
		parts = append(parts, "ETA "+max(eta.Round(time.Second), time.Second).String())
	}
	parts = append(parts, count(len(st.Workers), "worker"))
	if st.Waiting != "" && st.Running == 0 && !st.State.Ended() {
		parts = append(parts, "waiting: "+printable(st.Waiting))
	}
	return strings.Join(parts, ", ")
}

// bytesText is one line on how far a transfer is.
func bytesText(done, total int64, rate float64) string {
	text := formatBytes(done)
	if total > 0 {
		text += " of " + formatBytes(total)
	}
	if rate >= 1 {
		text += ", " + formatBytes(int64(rate)) + "/s"
	}
	return text
}

// doneText is one line on a job that ended well.
func doneText(st node.JobStatus, took time.Duration) string {
	if st.Started != nil && st.Finished != nil {
		took = st.Finished.Sub(*st.Started)
	}
	text := fmt.Sprintf("%s on %s in %s", count(st.Done, "task"), count(len(st.Workers), "node"), formatDuration(took))
	if again := st.Executions - st.Done; again > 0 {
		text += fmt.Sprintf(", %d run again", again)
	}
	return text
}
