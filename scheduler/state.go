package scheduler

import (
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// State is what the plan and its ledger say of the job; what runs and is
// queued only its steward knows.
func (p *Plan) State() protocol.JobState {
	st := protocol.JobState{
		Job: p.Job, Name: p.Manifest.Name, State: protocol.StatePending,
		Total: p.Manifest.Tasks(), Done: p.Done(), Root: p.Root(),
		Submitter: p.Manifest.Submitter, Copies: p.Manifest.Copies,
		Parts: p.Manifest.Stages[DataStage(p.Manifest)].Tasks,
	}
	st.Policy, st.RunUntil = p.Manifest.Policy.WithDefaults(), p.Manifest.RunUntil
	st.Ambiguous, st.Distrusted = p.ambiguous, p.Distrusted()
	st.Workers = p.Ledger.workers()
	for shard := range p.Layout.Shards() {
		st.Executions += p.Ledger.executions(shard)
	}
	if c := p.Ledger.Fact(protocol.Committed); c != nil {
		st.Started, st.Copies = c.At, c.Copies
	}
	if st.Done > 0 {
		st.State = protocol.StateRunning
	}
	if st.Root.Defined() {
		st.State = protocol.StateProvisional
	}
	end := p.Ended()
	if end == nil {
		return st
	}
	st.Finished, st.Error = end.At, end.Text
	switch end.Kind {
	case protocol.Final:
		st.State, st.Root, st.Copies = protocol.StateFinal, end.Root, end.Copies
	case protocol.Failed:
		st.State = protocol.StateFailed
	case protocol.Cancelled:
		st.State = protocol.StateCancelled
	}
	return st
}

// State is the steward's account of the job.
func (s *Steward) State(now time.Time) protocol.JobState {
	st := s.plan.State()
	st.Stewards = s.stewards
	if st.State.Ended() {
		s.addShards(now, &st)
		return st
	}
	st.Running, st.Queued = s.held()
	st.Waiting = s.waiting
	s.addShards(now, &st)
	if st.State == protocol.StatePending && (st.Running > 0 || st.Queued > 0) {
		st.State = protocol.StateRunning
	}
	return st
}
