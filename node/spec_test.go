package node

import (
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

func TestSpecsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		spec JobSpec
		want string // in the error; "" is none
	}{
		{"all defaults", JobSpec{}, ""},
		{"everything", JobSpec{Mode: protocol.Provenance, Env: []string{"A=b", "MESHNODEX=1"}, Expire: 1, Keep: 1, Require: protocol.Require{Labels: []string{"gpu=a100"}}}, ""},
		{"a mode that is none", JobSpec{Mode: "loose"}, `"loose" is neither strict nor provenance`},
		{"a negative time", JobSpec{Expire: -time.Second}, "above zero"},
		{"a variable of the mesh", JobSpec{Env: []string{"MESHNODE_TASK=0/0"}}, "MESHNODE_TASK belongs to the mesh"},
		{"a label that is none", JobSpec{Require: protocol.Require{Labels: []string{"a b"}}}, `"a b" is no label`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.spec.check()
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	for _, good := range []string{"gpu", "gpu=", "gpu=a100", "zone/rack.1=A-7", "a=b=c"} {
		if err := CheckLabel(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "=a", "a b", "a=b c", "a,b", "a=b,c", "é", "a=\x1b", "-a", strings.Repeat("a", protocol.MaxName+1)} {
		if err := CheckLabel(bad); !errors.Is(err, ErrInput) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestManifestSaysWhatTheSpecSays: nothing that a submitter chooses is dropped
// on the way, and what it leaves open gets its default.
// TestLifeIsBounded holds that what a specification may ask for, its manifest may
// say, and no more.
func TestLifeIsBounded(t *testing.T) {
	n := &Node{}
	for _, c := range []struct {
		expire, keep time.Duration
		ok           bool
	}{
		{0, 0, true},
		{protocol.MaxLife - protocol.KeepFor, 0, true},
		{0, protocol.MaxLife - protocol.RunFor, true},
		{0, protocol.MaxLife, false},
		{protocol.MaxLife, time.Minute, false},
		{math.MaxInt64, math.MaxInt64, false},
	} {
		spec := JobSpec{Expire: c.expire, Keep: c.keep}
		if err := spec.check(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrInput) {
			t.Errorf("%v and %v: %v", c.expire, c.keep, err)
		}
		m := n.describe(spec, scheduler.Chain{Splits: 1, Map: protocol.Program{Kind: protocol.Func, Func: "f"}}, nil, emptyBlock)
		key, _, err := crypto.GenerateEd25519Key(rand.Reader)
		must(t, err)
		doc, err := protocol.SignManifest(*m, key)
		if err == nil {
			_, err = protocol.OpenManifest(doc)
		}
		if (err == nil) != c.ok {
			t.Errorf("a manifest of %v and %v: %v", c.expire, c.keep, err)
		}
	}
}

func TestManifestSaysWhatTheSpecSays(t *testing.T) {
	n := &Node{}
	chain := scheduler.Chain{Splits: 1, Partitions: 1, Map: protocol.Program{Kind: protocol.Wasm}}
	spec := JobSpec{
		Mode: protocol.Provenance, Policy: protocol.Policy{Strategy: protocol.AtRandom, Queue: protocol.ShortestFirst, Priority: 3, Retries: 9},
		Require: protocol.Require{Cores: 2, Memory: 3 << 30, Labels: []string{"gpu"}}, Env: []string{"A=b"}, Expire: time.Hour, Keep: time.Minute,
	}
	m := n.describe(spec, chain, nil, "")
	if m.Mode != spec.Mode || m.Policy != spec.Policy || m.Require.Cores != 2 || m.Require.Labels[0] != "gpu" || m.Env[0] != "A=b" {
		t.Errorf("the manifest lost something of the specification: %+v", m)
	}
	if m.Limits.Memory != 3<<30 {
		t.Errorf("a task that is promised 3 GiB may use %d bytes", m.Limits.Memory)
	}
	if run, keep := m.RunUntil.Sub(m.Created), m.KeepUntil.Sub(m.RunUntil); run != time.Hour || keep != time.Minute {
		t.Errorf("it runs for %v and is kept for %v", run, keep)
	}
	m = n.describe(JobSpec{}, chain, nil, "")
	if m.Mode != protocol.Strict || m.Limits.Memory != defaultMemory || m.RunUntil.Sub(m.Created) != protocol.RunFor || m.KeepUntil.Sub(m.RunUntil) != protocol.KeepFor {
		t.Errorf("the defaults are %+v", m)
	}
	chain.Reduce = &protocol.Program{Kind: protocol.Exec}
	if m = n.describe(JobSpec{}, chain, nil, ""); m.Mode != protocol.Provenance {
		t.Errorf("a native command is taken for %s", m.Mode)
	}
}
