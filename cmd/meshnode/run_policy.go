package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// policyOptions are the flags of run that say where, when and how long a job's
// tasks run, and what they are told.
type policyOptions struct {
	strategy choice[protocol.Strategy]
	queue    choice[protocol.Queue]
	mode     choice[protocol.Mode]
	strict   bool // what --mode strict was called once
	priority int
	retries  int
	require  requirement
	env      []string
	expire   period
	keep     period
}

// policyHelp explains them.
const policyHelp = `Where a task runs: --require names what its node must have. cpu=N is slots, which the
task has to itself while it runs, mem=SIZE a share of the node's --task-memory, and
label=NAME a label just as meshnode start --label gave it. --strategy is how one is
chosen among the nodes that have all of it: load (the default; of a few that hold the
input or have little to do, who will finish first), random, resource (who has most
cores and memory free) or locality (who lacks fewest bytes of the input).

When its turn comes there, --policy decides: fcfs (the default; in the order of
arrival), sjf (what is expected to be short goes first) or priority (each step of
--priority is a head start of 10 s, so what waits long rises, and nothing starves).
Jobs of all policies wait in one line, which submitters share evenly. With fcfs and
sjf --priority would have no effect, and is refused.

A program that fails (a non-zero exit, a trap, a limit of its own) fails the job, once
a second node, if there is one, has seen the same. --retries is for trouble of the
nodes, like a full disk; a node that is lost costs no retry.

What two different results of one task mean is the job's --mode: strict (the default
for wasm) takes them for proof of a fault, and has more nodes run the task until most
of them agree; provenance (the default for exec and func) takes the lowest, and says that
the result was ambiguous.

Programs see the --env variables, and MESHNODE_JOB (the job's ID), MESHNODE_STAGE (map,
reduce, ...) and MESHNODE_TASK (STAGE/INDEX, like 0/17). They travel in the job's
description, which every member can read: no place for a secret.`

func (o *policyOptions) flags(cmd *cobra.Command) {
	o.strategy.allowed, o.queue.allowed = protocol.Strategies(), protocol.Queues()
	o.mode.allowed = []protocol.Mode{protocol.Strict, protocol.Provenance}
	f := cmd.Flags()
	f.Var(&o.strategy, "strategy", "how a node is chosen for a task: "+o.strategy.words()+" (load)")
	f.Var(&o.queue, "policy", "in which order a node serves what waits there: "+o.queue.words()+" (fcfs)")
	f.IntVar(&o.priority, "priority", 0, fmt.Sprintf("how urgent the job is, from %d to %d; without --policy it implies priority (0)", -protocol.MaxPriority, protocol.MaxPriority))
	f.Var(&o.require, "require", "what a task needs of its node: cpu=N,mem=SIZE,label=NAME[=VALUE]; may be repeated")
	f.Var(&o.mode, "mode", "what two different results of a task mean: strict (a fault) or provenance (the lowest counts)")
	f.StringArrayVar(&o.env, "env", nil, "variable for the programs: NAME=VALUE, or NAME to take it from here; may be repeated")
	f.Var(&o.expire, "expire", "the job fails if it has not ended after that time, like 90m or 2d (24h)")
	f.Var(&o.keep, "keep", "how long its result is kept, at least, after --expire, like 12h or 2w (7d)")
	f.IntVar(&o.retries, "retries", 0, fmt.Sprintf("runs of one task that trouble of nodes may end until the job fails, 1 to %d (%d)", protocol.MaxRetries, protocol.DefaultRetries))
	f.BoolVar(&o.strict, "strict", false, "the same as --mode strict")
	_ = f.MarkHidden("strict") // it is defined one line above
}

// fill puts the flags into a specification; what it refuses is misuse.
func (o *policyOptions) fill(cmd *cobra.Command, spec *node.JobSpec) error {
	changed := cmd.Flags().Changed
	switch {
	case o.priority < -protocol.MaxPriority || o.priority > protocol.MaxPriority:
		return fmt.Errorf("--priority takes a number from %d to %d, not %d", -protocol.MaxPriority, protocol.MaxPriority, o.priority)
	case changed("priority") && o.queue.value != "" && o.queue.value != protocol.ByPriority:
		return fmt.Errorf("--priority has no effect with --policy %s: leave one of the two out, or ask for --policy priority", o.queue.value)
	case changed("retries") && (o.retries < 1 || o.retries > protocol.MaxRetries):
		return fmt.Errorf("--retries takes a number from 1 to %d, not %d", protocol.MaxRetries, o.retries)
	case changed("expire") && o.expire <= 0:
		return errors.New("--expire takes a time above zero, like 90m")
	case changed("keep") && o.keep <= 0:
		return errors.New("--keep takes a time above zero, like 48h")
	case o.strict && o.mode.value == protocol.Provenance:
		return errors.New("--strict and --mode provenance contradict each other")
	}
	if o.strict {
		o.mode.value = protocol.Strict
	}
	if changed("priority") && o.queue.value == "" {
		o.queue.value = protocol.ByPriority
	}
	env, err := environment(o.env, os.LookupEnv)
	if err != nil {
		return err
	}
	spec.Policy = protocol.Policy{Strategy: o.strategy.value, Queue: o.queue.value, Priority: o.priority, Retries: o.retries}
	spec.Require, spec.Mode, spec.Env = protocol.Require(o.require), o.mode.value, env
	spec.Expire, spec.Keep = time.Duration(o.expire), time.Duration(o.keep)
	return nil
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environment reads the values of --env; lookup is the environment from which a
// bare name is taken.
func environment(given []string, lookup func(string) (string, bool)) ([]string, error) {
	var env []string
	seen, size := map[string]bool{}, 0
	for _, text := range given {
		name, value, has := strings.Cut(text, "=")
		switch {
		case !variableName.MatchString(name):
			return nil, fmt.Errorf("--env takes NAME=VALUE or NAME, a name of letters, digits and _, not %q", text)
		case seen[name]:
			return nil, fmt.Errorf("--env names %s twice", name)
		case strings.HasPrefix(name, "MESHNODE_"):
			return nil, fmt.Errorf("--env cannot set %s: names that begin with MESHNODE_ belong to the mesh", name)
		}
		if !has {
			if value, has = lookup(name); !has {
				return nil, fmt.Errorf("--env %s: there is no such variable here to take its value from; write --env %s=VALUE", name, name)
			}
		}
		seen[name] = true
		env = append(env, name+"="+value)
		size += len(name) + 1 + len(value)
	}
	if len(env) > protocol.MaxEnv || size > protocol.MaxEnvBytes {
		return nil, fmt.Errorf("--env: %d variables of %s, at most %d of %s; ship more in a file with --file",
			len(env), formatBytes(int64(size)), protocol.MaxEnv, formatBytes(protocol.MaxEnvBytes))
	}
	return env, nil
}
