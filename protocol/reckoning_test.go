package protocol

import (
	"math"
	"testing"
	"time"
)

// TestFactsBeyondReckoning holds that no member can state what would make the
// answers of honest nodes about a job, or of all jobs, be refused or not be
// shown.
func TestFactsBeyondReckoning(t *testing.T) {
	key, _ := testKey(t, 1)
	at := time.Unix(1_800_000_000, 0)
	for what, f := range map[string]Fact{
		"more copies than there can be": {Job: link("job"), Kind: Committed, At: at, Copies: MaxCopies + 1},
		"a time without a year":         {Job: link("job"), Kind: Committed, At: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Copies: 1},
	} {
		signed, err := SignFact(f, key)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := OpenFact(signed); err == nil {
			t.Errorf("%s: opens to %+v", what, got)
		}
	}
}

func TestManifestsBeyondReckoning(t *testing.T) {
	for what, spoil := range map[string]func(*Manifest){
		"bytes":         func(m *Manifest) { m.Bytes = math.MaxInt64 },
		"kept for ever": func(m *Manifest) { m.KeepUntil = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a reduce of more files than an award names": func(m *Manifest) {
			m.Stages = []Stage{
				{Name: "map", Kind: MapStage, Tasks: MaxInputs + 1, Program: m.Stages[0].Program, Partitions: 1},
				{Name: "reduce", Kind: ReduceStage, Tasks: 1, Program: m.Stages[0].Program},
				{Name: "concat", Kind: ConcatStage, Tasks: 1},
			}
		},
	} {
		m := testManifest()
		if err := m.check(); err != nil {
			t.Fatal(err)
		}
		spoil(&m)
		if m.check() == nil {
			t.Errorf("%s: passes", what)
		}
	}
}
