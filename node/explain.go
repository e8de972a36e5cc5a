package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// maxStoryPages bounds the pages of a story that one steward is asked for.
const maxStoryPages = 2 * protocol.MaxStory / protocol.MaxStoryPage

// FindTask is the task of a job that text names: STAGE/INDEX, the stage by its
// number or, where only one has it, by its name. It fails with ErrUnknownJob,
// and with ErrUnknownTask when the job has no such task.
func (n *Node) FindTask(ctx context.Context, job protocol.CID, text string) (protocol.Key, error) {
	s, err := n.state(ctx, job)
	if err != nil {
		return protocol.Key{}, err
	}
	m, err := n.manifestOf(ctx, s)
	if err != nil {
		return protocol.Key{}, err
	}
	return taskNamed(m, text)
}

// taskNamed is the task of a manifest that text names.
func taskNamed(m *protocol.Manifest, text string) (protocol.Key, error) {
	stage, index, _ := strings.Cut(text, "/")
	i, err := strconv.Atoi(index)
	if err != nil {
		return protocol.Key{}, fmt.Errorf("%w: %q is not STAGE/INDEX, like 0/17", ErrUnknownTask, text)
	}
	var found []protocol.Key
	for number, s := range m.Stages {
		if k := (protocol.Key{Stage: number, Index: i}); (stage == strconv.Itoa(number) || stage == s.Name) && hasTask(m, k) {
			found = append(found, k)
		}
	}
	switch len(found) {
	case 0:
		return protocol.Key{}, fmt.Errorf("%w: the job has no task %q; it has %s", ErrUnknownTask, text, taskRanges(m))
	case 1:
		return found[0], nil
	}
	return protocol.Key{}, fmt.Errorf("%w: %q can be any of %d tasks; name the stage by its number: %s", ErrUnknownTask, text, len(found), taskRanges(m))
}

// taskRanges lists the tasks that a job has, for people.
func taskRanges(m *protocol.Manifest) string {
	var parts []string
	for i, s := range m.Stages {
		if s.Tasks == 1 {
			parts = append(parts, fmt.Sprintf("%d/0 (%s)", i, s.Name))
			continue
		}
		parts = append(parts, fmt.Sprintf("%d/0 to %d/%d (%s)", i, i, s.Tasks-1, s.Name))
	}
	return strings.Join(parts, ", ")
}

// Explain tells what has happened to a job, or with a task to that one, and
// what keeps it now. It fails with ErrUnknownJob, and with ErrUnknownTask when
// the job has no such task.
func (n *Node) Explain(ctx context.Context, job protocol.CID, task *protocol.Key) (Explanation, error) {
	s, err := n.state(ctx, job)
	if err != nil {
		return Explanation{}, err
	}
	out := Explanation{Job: jobStatus(s), Stages: []StageShare{}, Runs: []RunShare{}, Workers: []WorkerShare{}}
	m, err := n.manifestOf(ctx, s)
	if task != nil {
		if err != nil {
			return Explanation{}, err
		}
		if !hasTask(m, *task) {
			return Explanation{}, fmt.Errorf("%w: the job has no task %s; it has %s", ErrUnknownTask, task, taskRanges(m))
		}
		out.Task = task.String()
	}
	var runs []protocol.TaskRun
	if task == nil {
		runs = n.allRuns(ctx, s)
	} else { // of its shard, whose stewards remember it
		shard := scheduler.NewLayout(m).ShardOf(*task)
		runs = n.runs(ctx, s, shard)
		if shard > 0 {
			s.Stewards = scheduler.Stewards(string(job), shard, m.Copies, n.storing())
		}
	}
	if m != nil {
		out.Stages, out.Workers = shares(m, runs)
	}
	if task != nil {
		out.Runs, out.Workers = runsOf(*task, runs), []WorkerShare{}
	}
	n.addStories(ctx, &out, s, task)
	return out, nil
}

// addStories asks the job's stewards what they remember.
func (n *Node) addStories(ctx context.Context, out *Explanation, s protocol.JobState, task *protocol.Key) {
	q := protocol.Explain{Job: s.Job, Task: task}
	answers := n.stories(ctx, s.Stewards, q)
	now, known := pickNow(answers)
	if !known { // they may just have become it: others remember more
		answers = append(answers, n.stories(ctx, slices.DeleteFunc(n.mesh.Alive(), func(id peer.ID) bool { return slices.Contains(s.Stewards, id) }), q)...)
		now, known = pickNow(answers)
	}
	switch {
	case known:
	case task != nil && s.Shards > 1 && !s.State.Ended():
		now = NowState{State: "waiting", Text: "its part of the job is not looked after yet: of a large job's parts, earlier ones come first"}
	default:
		now = NowState{State: string(s.State), Text: s.Waiting}
	}
	out.Now, out.Told, out.Silent = now, []peer.ID{}, []peer.ID{}
	for _, a := range answers {
		if a.now != nil {
			out.Told = append(out.Told, a.by)
		} else if slices.Contains(s.Stewards, a.by) {
			out.Silent = append(out.Silent, a.by)
		}
	}
	if out.Events, out.Dropped = joinStories(answers); out.Events == nil {
		out.Events = []StoryEvent{}
	}
}

// stories asks several nodes at once for what they remember.
func (n *Node) stories(ctx context.Context, of []peer.ID, q protocol.Explain) []told {
	all := make([]told, len(of))
	var wg sync.WaitGroup
	for i, id := range of {
		wg.Go(func() { all[i] = n.storyAt(ctx, id, q) })
	}
	wg.Wait()
	return all
}

// storyAt asks one node, page by page.
func (n *Node) storyAt(ctx context.Context, id peer.ID, q protocol.Explain) told {
	out := told{by: id}
	for range maxStoryPages {
		q.From = len(out.events)
		a, err := n.caller.call(ctx, id, &protocol.Request{Explain: &q}, callWait)
		if err != nil {
			n.log.Debug("story not told", "peer", id, "job", q.Job, "error", err)
			return out
		}
		if out.now == nil {
			out.now = a.Now
		}
		out.events = append(out.events, a.Story[:min(len(a.Story), protocol.MaxStoryPage)]...)
		if len(a.Story) == 0 {
			return out
		}
	}
	return out
}

// manifestOf is the manifest of a job, from here or from its stewards.
func (n *Node) manifestOf(ctx context.Context, s protocol.JobState) (*protocol.Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	get := n.exchange.Getter(func(context.Context, protocol.CID) []peer.ID { return n.sources(s.Stewards) })
	doc, err := get.Get(ctx, s.Job)
	if err != nil {
		return nil, notFound(s.Job, fmt.Errorf("reading what the job consists of: %w", err))
	}
	return protocol.OpenManifest(doc)
}
