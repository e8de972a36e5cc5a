// Package scheduler makes every decision of a job's life, as pure state
// machines: [Layout] (which tasks are looked after together), [Ledger] (what is
// known to be done), [Plan] (what may run next, and what the root is),
// [Steward] (who is asked to run it), [Worker] (what runs here, and in which
// order) and [Courier] (who still has to be told).
//
// Each method takes the present time and an event and returns effects for its
// caller to carry out: messages to send, tasks to start or stop, facts to
// state. The machines start no goroutine, read no clock, draw only from the
// random source they are given and walk their maps in sorted order, so that a
// seed replays a run.
//
// A machine is owned by one goroutine: none of them may be used from two at
// once.
package scheduler
