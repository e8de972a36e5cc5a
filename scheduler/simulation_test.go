package scheduler

import (
	"flag"
	"fmt"
	"testing"
)

var (
	oneSeed = flag.Uint64("seed", 0, "run only this seed of the simulation")
	seeds   = flag.Uint64("seeds", 540, "how many seeds of the simulation to run")
)

// attempt runs a scenario; a panic of a machine is an error like any other.
func attempt(c scenario) (err error) {
	defer func() {
		if r := recover(); r != nil && c.mutation != "" {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return newSim(c).run()
}

// TestSimulation runs a job in one scenario for each seed: whatever fails in
// it, the job ends as it must, and no invariant is broken.
func TestSimulation(t *testing.T) {
	failed := 0
	for seed := uint64(1); seed <= *seeds && failed < 10; seed++ {
		if *oneSeed != 0 {
			seed = *oneSeed
		}
		c := newScenario(seed)
		c.verbose = *oneSeed != 0
		if err := attempt(c); err != nil {
			failed++
			t.Errorf("seed %d (%s): %v\nrepeat with: go test ./scheduler -run TestSimulation -seed %d", seed, c.class, err, seed)
		}
		if *oneSeed != 0 {
			return
		}
	}
}

// TestSimulationSteals holds that the simulation does what it is to test: tasks
// are stolen, and slow ones run twice.
func TestSimulationSteals(t *testing.T) {
	thefts, backups := 0, 0
	for seed := range uint64(2 * len(classes)) {
		s := newSim(newScenario(seed))
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		thefts, backups = thefts+s.seen.thefts, backups+s.seen.backups
	}
	if thefts < 10 || backups < 3 {
		t.Errorf("%d thefts and %d second runs in %d simulations", thefts, backups, 2*len(classes))
	}
	t.Logf("%d thefts and %d second runs in %d simulations", thefts, backups, 2*len(classes))
}

// TestSeedRepeatsRun holds the machines to be pure, and the simulator too: a
// seed gives the same messages at the same times.
func TestSeedRepeatsRun(t *testing.T) {
	trace := func(seed uint64) string {
		c := newScenario(seed)
		c.tracing = true
		s := newSim(c)
		err := s.run()
		return fmt.Sprint(s.trace, s.now, s.seq, s.seen.starts, err)
	}
	for seed := range uint64(2 * len(classes)) {
		if a, b := trace(seed), trace(seed); a != b {
			t.Fatalf("seed %d runs in two ways: %s and %s", seed, a, b)
		}
	}
}
