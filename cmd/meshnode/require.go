package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// requirement is the value of --require: cpu=N,mem=SIZE,label=NAME[=VALUE], in
// any order, over any number of flags.
type requirement protocol.Require

const requirementForm = "a requirement is cpu=N, mem=SIZE or label=NAME[=VALUE], or several of them with commas between"

func (r *requirement) Set(text string) error {
	for _, part := range strings.Split(text, ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if err := r.add(key, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *requirement) add(key, value string) error {
	switch key {
	case "cpu":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > protocol.MaxCores {
			return fmt.Errorf("cpu takes a number of slots from 1 to %d, not %q", protocol.MaxCores, value)
		}
		if r.Cores != 0 {
			return errors.New("cpu is given twice")
		}
		r.Cores = n
	case "mem":
		n, err := parseBytes(value)
		if err != nil {
			return fmt.Errorf("mem: %w", err)
		}
		if r.Memory != 0 {
			return errors.New("mem is given twice")
		}
		r.Memory = n
	case "label":
		if err := node.CheckLabel(value); err != nil {
			return err
		}
		if len(r.Labels) == protocol.MaxLabels {
			return fmt.Errorf("more than %d labels", protocol.MaxLabels)
		}
		r.Labels = append(r.Labels, value)
	default:
		return errors.New(requirementForm)
	}
	return nil
}

func (r *requirement) Type() string { return "needs" }

func (r *requirement) String() string {
	var parts []string
	if r.Cores > 0 {
		parts = append(parts, "cpu="+strconv.Itoa(r.Cores))
	}
	if r.Memory > 0 {
		parts = append(parts, "mem="+exactBytes(r.Memory))
	}
	for _, l := range r.Labels {
		parts = append(parts, "label="+l)
	}
	return strings.Join(parts, ",")
}
