package node

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// check refuses what can be refused before anything is stored or sent; the
// rest is checked with the manifest.
func (s JobSpec) check() error {
	if s.Mode != "" && s.Mode != protocol.Strict && s.Mode != protocol.Provenance {
		return fmt.Errorf("%w: the mode %q is neither %s nor %s", ErrInput, s.Mode, protocol.Strict, protocol.Provenance)
	}
	if s.Expire < 0 || s.Keep < 0 {
		return fmt.Errorf("%w: a job runs, and its result is kept, for a time above zero, not %v and %v", ErrInput, s.Expire, s.Keep)
	}
	run, keep := positive(s.Expire, protocol.RunFor), positive(s.Keep, protocol.KeepFor)
	if run > protocol.MaxLife || keep > protocol.MaxLife-run {
		return fmt.Errorf("%w: a job may run, and its result be kept, for %d days in all, not %v and %v; fetch the result earlier, or add it as a file of its own", ErrInput, protocol.MaxLife/(24*time.Hour), run, keep)
	}
	for _, e := range s.Env {
		if strings.HasPrefix(e, protocolEnv) {
			name, _, _ := strings.Cut(e, "=")
			return fmt.Errorf("%w: the variable %s belongs to the mesh; choose a name that does not begin with %s", ErrInput, name, protocolEnv)
		}
	}
	for _, l := range s.Require.Labels {
		if err := CheckLabel(l); err != nil {
			return err
		}
	}
	return nil
}

// protocolEnv begins the names of what the mesh itself tells a task.
const protocolEnv = "MESHNODE_"

// mode is what the specification says, or what follows from its programs.
func (s JobSpec) mode(chain scheduler.Chain) protocol.Mode {
	if s.Mode != "" {
		return s.Mode
	}
	for _, p := range []*protocol.Program{&chain.Map, chain.Reduce, chain.Combine} {
		if p != nil && p.Kind != protocol.Wasm {
			return protocol.Provenance
		}
	}
	return protocol.Strict
}

var labelForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]*(=[!-+\--~]*)?$`)

// CheckLabel holds that a label is NAME or NAME=VALUE: a name of letters,
// digits and . _ / - and a value without commas and blanks. It fails with
// ErrInput.
func CheckLabel(label string) error {
	if len(label) > protocol.MaxName {
		return fmt.Errorf("%w: the label %.32q... has %d bytes, at most %d", ErrInput, label, len(label), protocol.MaxName)
	}
	if !labelForm.MatchString(label) {
		return fmt.Errorf("%w: %q is no label; it is NAME or NAME=VALUE, the name of letters, digits and . _ / - and the value without commas and blanks", ErrInput, label)
	}
	return nil
}
