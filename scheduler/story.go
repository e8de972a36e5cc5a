package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// storyRecent is how far back an event is looked for that is repeated: a
	// node that refuses every offer fills one line, not the story.
	storyRecent = 64
	// storyKept is how many events are kept of a job that has ended.
	storyKept = 256
)

// story is what a steward remembers for those who ask why: bounded, in memory,
// and of no weight for any decision.
type story struct{ events []protocol.Event }

// note adds an event, or, for what may go on and on, counts it once more when
// it has just happened.
func (s *story) note(now time.Time, e protocol.Event) {
	e.At = now
	recent := s.events[max(0, len(s.events)-storyRecent):]
	if e.Kind == protocol.EventSteward || e.Kind == protocol.EventStarted { // when is what is asked for
		recent = nil
	}
	for i := range recent {
		old := &recent[i]
		if old.Kind == e.Kind && old.Peer == e.Peer && old.Text == e.Text && slices.Equal(old.Tasks, e.Tasks) && slices.Equal(old.Peers, e.Peers) {
			old.Times = max(1, old.Times) + 1
			return
		}
	}
	if len(s.events) >= protocol.MaxStory { // the oldest quarter makes room
		s.events = slices.Delete(s.events, 0, protocol.MaxStory/4)
	}
	s.events = append(s.events, e)
}

// noteStart notes that a node runs task k, unless it tells so in a ping that the
// task's receipt has overtaken.
func (s *Steward) noteStart(now time.Time, k protocol.Key, by peer.ID) {
	if !s.plan.isDone(k) || s.plan.at(k).lost {
		s.story.note(now, protocol.Event{Kind: protocol.EventStarted, Tasks: []protocol.Key{k}, Peer: by})
	}
}

// shorten keeps the end of a story whose job has ended.
func (s *story) shorten() {
	if n := len(s.events); n > storyKept {
		s.events = slices.Clone(s.events[n-storyKept:])
	}
}

// Story is what this steward remembers of the job, or of one of its tasks, from
// the given event on: at most a page.
func (s *Steward) Story(task *protocol.Key, from int) []protocol.Event {
	var out []protocol.Event
	for _, e := range s.story.events {
		if task != nil && len(e.Tasks) > 0 && !slices.Contains(e.Tasks, *task) {
			continue
		}
		if task != nil && len(e.Tasks) > 1 {
			e.Tasks = []protocol.Key{*task}
		}
		out = append(out, e)
	}
	return first(protocol.MaxStoryPage, out[min(from, len(out)):])
}

// Now says in plain words what keeps the job, or one of its tasks, now.
func (s *Steward) Now(now time.Time, task *protocol.Key) protocol.Now {
	if task != nil {
		return s.taskNow(now, *task)
	}
	st := s.State(now)
	switch {
	case st.State.Ended():
		return protocol.Now{State: string(st.State), Text: st.Error}
	case st.State == protocol.StateProvisional:
		return protocol.Now{State: string(st.State), Text: fmt.Sprintf("the result is known; its copies are being made on %d nodes", min(s.plan.Manifest.Copies, len(s.nodes)))}
	case s.waiting != "":
		return protocol.Now{State: "waiting", Text: s.waiting}
	}
	return protocol.Now{State: string(st.State), Text: fmt.Sprintf("%d of %d tasks done, %d run and %d wait on nodes", st.Done, st.Total, st.Running, st.Queued)}
}

func (s *Steward) taskNow(now time.Time, k protocol.Key) protocol.Now {
	if end := s.plan.Ended(); end != nil && !s.plan.isDone(k) {
		return protocol.Now{State: string(end.Kind), Text: "the job has ended: " + end.Text}
	}
	c, claimed := s.claims[k]
	switch {
	case s.plan.isDone(k) && !s.plan.at(k).lost:
		return protocol.Now{State: "done", Text: fmt.Sprintf("by %s", strings.Join(texts(s.plan.Holders(k, nil)), ", "))}
	case claimed && c.running:
		text := fmt.Sprintf("on %s for %s", c.by, now.Sub(c.began).Round(time.Millisecond))
		if second, twice := s.second[k]; twice {
			text += fmt.Sprintf(", and on %s beside it", second.by)
		}
		return protocol.Now{State: "running", Text: text}
	case claimed:
		return protocol.Now{State: "queued", Text: fmt.Sprintf("on %s", c.by)}
	}
	if !s.plan.ready(k) {
		return protocol.Now{State: "waiting", Text: s.missing(k)}
	}
	for _, id := range s.offerIDs() {
		if o := s.offers[id]; slices.Contains(o.keys, k) {
			return protocol.Now{State: "offered", Text: "to " + strings.Join(texts(o.asked), ", ")}
		}
	}
	if !s.acting {
		return protocol.Now{State: "ready", Text: "its first steward offers it"}
	}
	if why := s.whyNot(now, k); why != "" {
		return protocol.Now{State: "ready", Text: why}
	}
	return protocol.Now{State: "ready", Text: "to be offered at once"}
}

// missing says which of the tasks that k reads are not done.
func (s *Steward) missing(k protocol.Key) string {
	from, count := dependencies(s.plan.Manifest, k)
	lacks := 0
	example := protocol.Key{}
	for i := from; i < from+count; i++ {
		dep := protocol.Key{Stage: k.Stage - 1, Index: i}
		if !s.plan.isDone(dep) || s.plan.at(dep).lost {
			if lacks++; lacks == 1 {
				example = dep
			}
		}
	}
	return fmt.Sprintf("%d of the %d tasks that it reads are not done, %s for one", lacks, count, example)
}

// whyNot says why a task that is ready is not offered, or "".
func (s *Steward) whyNot(now time.Time, k protocol.Key) string {
	capable := s.capable(k.Stage)
	if len(capable) == 0 {
		return s.whyNobody(k.Stage)
	}
	resting := 0
	for _, n := range capable {
		if s.resting[n.ID].After(now) {
			resting++
		}
	}
	if resting == len(capable) {
		return fmt.Sprintf("all %d nodes that can run it are full or have just refused; it is offered as soon as one has room", len(capable))
	}
	return ""
}

func texts(ids []peer.ID) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}
