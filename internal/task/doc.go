// Package task runs one task of a job on this node: it reads what the task
// reads, runs its programs, stores what they print, and says what came of it.
//
// Enter it through [NewRunner] and [Runner.Run]. What a task reads and gives is
// written down at protocol.StageKind. A program never sees an empty input: the
// output of nothing is nothing. The same task gives the same result on any
// node, as long as its programs do, whatever memory there is to sort in.
//
// What happens to blocks and where inputs come from is the caller's: see
// [Config] and [Inputs]. Scratch files have no names, so that nothing of a task
// stays behind, even when the process is killed.
//
// Concurrency: a Runner may be used from any goroutine, and runs as many tasks
// at once as there are calls of Run. Run waits for whatever it has started. It
// holds at most about twice [Config].SortMemory, and buffers for the streams
// that it merges.
package task
