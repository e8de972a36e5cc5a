package protocol

import (
	"fmt"
	"slices"
	"strings"
)

// Strategy says to which of the nodes that can run a task it is given.
type Strategy string

const (
	// ByLoad asks the least loaded nodes and those that hold the input, and
	// awards by predicted finish. It is the default.
	ByLoad Strategy = "load"
	// AtRandom asks random nodes and awards to a random one that has room.
	AtRandom Strategy = "random"
	// ByResource awards to who has most cores and memory free.
	ByResource Strategy = "resource"
	// ByLocality asks those that hold the input first, and awards to who lacks
	// the fewest bytes.
	ByLocality Strategy = "locality"
)

// Strategies are all of them.
var strategies = []Strategy{ByLoad, AtRandom, ByResource, ByLocality}

// Strategies lists the assignment strategies, the default first.
func Strategies() []Strategy { return slices.Clone(strategies) }

// Queue says in which order a worker serves the tasks that wait there.
type Queue string

const (
	// FirstCome serves in the order of arrival. It is the default.
	FirstCome Queue = "fcfs"
	// ShortestFirst lets tasks that are expected to be short go before.
	ShortestFirst Queue = "sjf"
	// ByPriority lets tasks of higher priority go before.
	ByPriority Queue = "priority"
)

var queues = []Queue{FirstCome, ShortestFirst, ByPriority}

// Queues lists the queue policies, the default first.
func Queues() []Queue { return slices.Clone(queues) }

func (q Queue) known() bool { return q == "" || slices.Contains(queues, q) }

// Policy is how a job's tasks are given to nodes and served there. The zero
// value of a field means its default.
type Policy struct {
	Strategy Strategy `cbor:"strategy,omitempty" json:"strategy"`
	Queue    Queue    `cbor:"queue,omitempty" json:"queue"`
	Priority int      `cbor:"priority,omitempty" json:"priority"`
	// Retries is how many runs of one task may fail for reasons of their hosts
	// before the job does; 4.
	Retries int `cbor:"retries,omitempty" json:"retries"`
}

// WithDefaults returns the policy with its defaults spelt out.
func (p Policy) WithDefaults() Policy {
	if p.Strategy == "" {
		p.Strategy = ByLoad
	}
	if p.Queue == "" {
		p.Queue = FirstCome
	}
	if p.Retries == 0 {
		p.Retries = DefaultRetries
	}
	return p
}

// DefaultRetries is how many runs of a task may fail for reasons of their
// hosts before the job does.
const DefaultRetries = 4

func (p Policy) check() error {
	switch {
	case p.Strategy != "" && !slices.Contains(strategies, p.Strategy):
		return fmt.Errorf("strategy %q", p.Strategy)
	case !p.Queue.known():
		return fmt.Errorf("queue policy %q", p.Queue)
	case p.Priority < -MaxPriority || p.Priority > MaxPriority:
		return fmt.Errorf("priority %d, %d to %d", p.Priority, -MaxPriority, MaxPriority)
	case p.Retries < 0 || p.Retries > MaxRetries:
		return fmt.Errorf("%d retries, at most %d", p.Retries, MaxRetries)
	}
	return nil
}

// Require is what each task of a job's programs needs of its node. The zero
// value demands nothing but one slot.
type Require struct {
	Cores  int      `cbor:"cores,omitempty" json:"cores,omitempty"`   // slots that one task takes
	Memory int64    `cbor:"memory,omitempty" json:"memory,omitempty"` // bytes that one task is promised
	Labels []string `cbor:"labels,omitempty" json:"labels,omitempty"` // of the node: NAME or NAME=VALUE
}

func (r Require) check() error {
	if r.Cores < 0 || r.Cores > MaxCores || r.Memory < 0 || !labelsBounded(r.Labels) {
		return fmt.Errorf("a requirement out of bounds")
	}
	return nil
}

// checkEnv holds environment variables to be well formed and bounded.
func checkEnv(env []string) error {
	size := 0
	names := map[string]bool{}
	for _, e := range env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsRune(e, 0) {
			return fmt.Errorf("an environment variable %.64q is not NAME=VALUE", e)
		}
		if names[name] {
			return fmt.Errorf("two environment variables %.64q", name)
		}
		names[name], size = true, size+len(e)
	}
	if len(env) > MaxEnv || size > MaxEnvBytes {
		return fmt.Errorf("%d environment variables of %d bytes, at most %d of %d", len(env), size, MaxEnv, MaxEnvBytes)
	}
	return nil
}
