package node

import (
	"encoding/json"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The JSON forms of what names peers. Two things need help: an empty peer ID
// can be encoded but not decoded, and encoding/json writes map keys that are
// strings as they are, in the case of peer IDs in binary.

type plainStatus JobStatus

type jsonStatus struct {
	plainStatus
	Workers   map[string]int `json:"workers"`
	Submitter *peer.ID       `json:"submitter,omitempty"`
}

// MarshalJSON encodes s with its peers as text.
func (s JobStatus) MarshalJSON() ([]byte, error) {
	out := jsonStatus{plainStatus(s), make(map[string]int, len(s.Workers)), known(s.Submitter)}
	if out.Stewards == nil {
		out.Stewards = []peer.ID{}
	}
	if out.Distrusted == nil {
		out.Distrusted = []peer.ID{}
	}
	for id, tasks := range s.Workers {
		out.Workers[id.String()] = tasks
	}
	return json.Marshal(out)
}

// UnmarshalJSON reverses MarshalJSON.
func (s *JobStatus) UnmarshalJSON(b []byte) error {
	var in jsonStatus
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*s = JobStatus(in.plainStatus)
	if in.Submitter != nil {
		s.Submitter = *in.Submitter
	}
	if len(s.Stewards) == 0 {
		s.Stewards = nil
	}
	if len(s.Distrusted) == 0 {
		s.Distrusted = nil
	}
	if len(in.Workers) > 0 {
		s.Workers = make(map[peer.ID]int, len(in.Workers))
	}
	for text, tasks := range in.Workers {
		id, err := peer.Decode(text)
		if err != nil {
			return fmt.Errorf("decoding a job's workers: %w", err)
		}
		s.Workers[id] = tasks
	}
	return nil
}

type plainEntry LogEntry

type jsonEntry struct {
	plainEntry
	Worker *peer.ID `json:"worker,omitempty"`
}

// MarshalJSON encodes e with its worker as text, or without one.
func (e LogEntry) MarshalJSON() ([]byte, error) {
	return json.Marshal(jsonEntry{plainEntry(e), known(e.Worker)})
}

// UnmarshalJSON reverses MarshalJSON.
func (e *LogEntry) UnmarshalJSON(b []byte) error {
	var in jsonEntry
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*e = LogEntry(in.plainEntry)
	if in.Worker != nil {
		e.Worker = *in.Worker
	}
	return nil
}

func known(id peer.ID) *peer.ID {
	if id == "" {
		return nil
	}
	return &id
}
