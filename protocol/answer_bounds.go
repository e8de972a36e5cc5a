package protocol

import (
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"
)

func (a *Answer) bounded() bool {
	return len(a.Error) <= MaxText && len(a.Held) <= MaxRoots && a.Copies >= 0 && a.Copies <= MaxCopies &&
		(a.Status == nil || a.Status.bounded()) &&
		len(a.Jobs) <= MaxJobsListed && all(a.Jobs, (*JobState).bounded) &&
		len(a.Runs) <= MaxRuns && all(a.Runs, (*TaskRun).bounded) &&
		(a.Can == nil || a.Can.bounded()) &&
		len(a.Story) <= MaxStoryPage && all(a.Story, (*Event).bounded) &&
		(a.Now == nil || len(a.Now.State) <= MaxName && len(a.Now.Text) <= MaxText)
}

func (s *JobState) bounded() bool {
	return s.State.known() && len(s.Name) <= MaxName && len(s.Error) <= MaxText && len(s.Waiting) <= MaxText && s.Policy.check() == nil &&
		noneNegative(s.Total, s.Done, s.Running, s.Queued, s.Executions, s.Parts) && s.Bytes >= 0 && s.BytesDone >= 0 &&
		timeBounded(s.Started) && timeBounded(s.Finished) && timeBounded(s.RunUntil) &&
		s.Copies >= 0 && s.Copies <= MaxCopies && s.Wanted >= 0 && s.Wanted <= MaxCopies && len(s.Mode) <= MaxName && s.Require.check() == nil && shardBounded(s.Shards) &&
		len(s.Stewards) <= MaxSources && allNamed(s.Stewards) && len(s.Distrusted) <= MaxSources && allNamed(s.Distrusted) && countsBounded(s.Workers)
}

// known takes the zero value too: of a job that is only heard of.
func (s State) known() bool {
	return s == "" || s == StatePending || s == StateRunning || s == StateProvisional || s.Ended()
}

func (r *TaskRun) bounded() bool {
	return r.Task.valid() && r.Worker != "" && len(r.Stage) <= MaxName && r.Took >= 0 && len(r.Failed) <= MaxText && len(r.Tail) <= MaxTail
}

func (e *Event) bounded() bool {
	return len(e.Kind) <= MaxName && timeBounded(e.At) && keysBounded(e.Tasks) && len(e.Peers) <= MaxSources && allNamed(e.Peers) && e.Took >= 0 &&
		noneNegative(e.Room, e.Times) && len(e.Text) <= MaxText
}

func noneNegative(counts ...int) bool { return slices.Min(counts) >= 0 }

func countsBounded(counts map[peer.ID]int) bool {
	for id, n := range counts {
		if n < 0 || id == "" {
			return false
		}
	}
	return true
}

func all[T any](list []T, bounded func(*T) bool) bool {
	for i := range list {
		if !bounded(&list[i]) {
			return false
		}
	}
	return true
}
