package scheduler

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

// lives are the kinds of scenario in which a whole job is lived through.
var lives = []struct {
	name string
	set  func(c *scenario, rng *rand.Rand)
}{
	{"quiet submission", func(c *scenario, rng *rand.Rand) { c.loss, c.repeat, c.ordered = 0, 0, true }},
	{"the submitter dies", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){submitterDies} }},
	{"holders restart", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){holdersRestart} }},
	{"holders and submitter die", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){holdersRestart, submitterDies} }},
	{"a node hangs", func(c *scenario, rng *rand.Rand) {
		c.size, c.blind, c.delay, c.faults = max(c.size, 6), true, 10*time.Millisecond, []func(*sim){oneHangs}
	}},
	{"a partition caps the copies", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){partitionAtOnce} }},
	{"clocks lie", func(c *scenario, rng *rand.Rand) { c.size, c.faults = max(c.size, 5), []func(*sim){clocksLie} }},
	{"back after days", func(c *scenario, rng *rand.Rand) { c.faults = []func(*sim){awayForDays} }},
	{"results are lost", func(c *scenario, rng *rand.Rand) {
		c.loseParts, c.faults = 1, []func(*sim){loseBlocks, holdersRestart}
	}},
}

func newLifeScenario(seed uint64) scenario {
	rng := rand.New(rand.NewPCG(seed, 11))
	c := scenario{
		seed: seed, whole: true, size: 4 + rng.IntN(6), taskTime: time.Duration(50+rng.IntN(400)) * time.Millisecond,
		m: simManifest(1+rng.IntN(24), rng.IntN(3), false), loss: 0.03, repeat: 0.03,
		leaves: protocol.ShardLeaves, delay: time.Duration(1+rng.IntN(20)) * time.Millisecond, limit: 2 * time.Minute, inline: rng.IntN(4) == 0,
	}
	kind := lives[seed%uint64(len(lives))]
	c.class = kind.name
	kind.set(&c, rng)
	return c
}

// submitterDies ends the submitter at any moment, before the commit or after it.
func submitterDies(s *sim) {
	at := s.upTo(1500 * time.Millisecond)
	s.healed(at)
	s.after(at, func() {
		if s.life.maySpare() {
			s.crash(s.life.submitter, s.rng.IntN(2) == 0, 0)
		}
	})
}

// holdersRestart ends nodes, with their disks or without, while the job is
// placed and committed, and starts them again.
func holdersRestart(s *sim) {
	for range 2 + s.rng.IntN(12) {
		at, back := s.upTo(1200*time.Millisecond), 5*time.Millisecond+s.upTo(300*time.Millisecond)
		s.healed(at + back)
		s.after(at, func() {
			if n := s.anyNode(); n != s.life.submitter && s.life.maySpare() {
				s.crash(n, s.rng.IntN(3) > 0, back)
			}
		})
	}
	for range s.rng.IntN(3) { // and later, when the job runs or has ended
		at, back := 2*time.Second+s.upTo(15*time.Second), 100*time.Millisecond+s.upTo(3*time.Second)
		s.healed(at + back)
		s.after(at, func() {
			if s.life.maySpare() && !s.life.committed.IsZero() {
				s.crash(s.anyNode(), s.rng.IntN(2) == 0, back)
			}
		})
	}
}

// oneHangs stops a node other than the submitter just before the job is
// submitted; no view shows it.
func oneHangs(s *sim) {
	n := s.anyNode()
	if ranked := Rank(string(s.job), s.ids[:s.size]); s.rng.IntN(2) == 0 {
		n = s.nodes[ranked[s.rng.IntN(3)]]
	}
	if n != s.life.submitter {
		n.hangs = s.now.Add(5 * time.Second)
		s.healed(5 * time.Second)
	}
}

// partitionAtOnce splits the mesh before the job is submitted.
func partitionAtOnce(s *sim) {
	lasts := time.Second + s.upTo(15*time.Second)
	s.healed(lasts)
	for _, id := range s.ids {
		s.net.side[id] = s.rng.IntN(2)
	}
	s.each(up, (*simNode).look)
	s.after(lasts, func() { clear(s.net.side) })
}

// clocksLie makes a minority's clocks wrong by days, or their word on the time.
func clocksLie(s *sim) {
	for range 1 + s.rng.IntN((s.size-1)/2) {
		n, by := s.anyNode(), time.Duration(s.rng.Int64N(int64(200*time.Hour)))-100*time.Hour
		if s.rng.IntN(2) == 0 && n != s.life.submitter {
			n.offset = by
		} else {
			n.lies = by
		}
	}
}

// awayForDays takes nodes away while the job runs; they are back when its time
// is over.
func awayForDays(s *sim) {
	for range 1 + s.rng.IntN(2) {
		at := 500*time.Millisecond + s.upTo(3*time.Second)
		s.healed(at)
		s.after(at, func() {
			if n := s.anyNode(); s.life.maySpare() && !s.life.committed.IsZero() {
				s.crash(n, false, 0)
			}
		})
	}
}

// TestLives runs jobs from their submission until they are forgotten.
func TestLives(t *testing.T) {
	failed := 0
	committed, dropped := 0, 0
	for seed := uint64(1); seed <= *seeds/3 && failed < 10; seed++ {
		if *oneSeed != 0 {
			seed = *oneSeed
		}
		c := newLifeScenario(seed)
		c.verbose = *oneSeed != 0
		s := newSim(c)
		if err := s.runLife(); err != nil {
			failed++
			t.Errorf("seed %d (%s): %v\nrepeat with: go test ./scheduler -run TestLives -seed %d", seed, c.class, err, seed)
		}
		if !s.life.committed.IsZero() {
			committed++
		}
		dropped += len(s.life.drops)
		if *oneSeed != 0 {
			return
		}
	}
	if dropped == 0 || committed < int(*seeds/6) {
		t.Errorf("%d jobs were committed and %d copies of inputs released: the scenarios test nothing", committed, dropped)
	}
}

const (
	oneLook     mutation = "commit counts what nodes said before the copies were made (R1)"
	onItsWord   mutation = "inputs are dropped on the word of a final (R3)"
	atProvision mutation = "inputs are dropped when the root is known (R4)"
	noExpiry    mutation = "what comes after its time is accepted (R7)"
)

// mutateCommit makes a commit take for sure whatever it was once told.
func (n *simNode) mutateCommit(c *Commit) {
	if n.s.mutation != oneLook {
		return
	}
	for _, id := range c.place.order {
		if p := c.place.nodes[id]; p.holds != nil {
			p.sure = p.holds
		}
	}
}

// mutateRelease drops inputs without the checks of a release.
func (n *simNode) mutateRelease(drop func()) bool {
	switch end := n.plan.Ended(); n.s.mutation {
	case onItsWord:
		if end != nil && end.Kind == protocol.Final {
			drop()
		}
	case atProvision:
		if n.plan.Root().Defined() {
			drop()
		}
	default:
		return false
	}
	return true
}

// TestCheckersSeeLifeMutations breaks each rule of a job's life in turn: some
// seed must fail, and for the rule that was broken.
func TestCheckersSeeLifeMutations(t *testing.T) {
	for m, by := range map[mutation]string{oneLook: "I2", bareCopies: "R2", onItsWord: "R3", atProvision: "R4", noExpiry: "R7"} {
		t.Run(string(m), func(t *testing.T) {
			for seed := uint64(1); seed <= 1500; seed++ {
				c := newLifeScenario(seed)
				c.mutation = m
				if err := attemptLife(c); err != nil && Names(err, by) {
					t.Logf("seed %d (%s): %.200s", seed, c.class, err)
					return
				}
			}
			t.Fatal("no checker objects")
		})
	}
}

// attemptLife runs a whole life; a panic of a machine is an error like any
// other.
func attemptLife(c scenario) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return newSim(c).runLife()
}

// names reports whether an objection names the rule or invariant.
func Names(err error, rule string) bool { return strings.Contains(err.Error(), rule) }
