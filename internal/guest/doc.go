// Package guest runs programs in warm, killable child processes of our own
// binary.
//
// Compiled guest code cannot be preempted: a long loop in a node's own process
// would stop its garbage collector, and with it the node's answers to probes.
// So a program never runs in the node. A [Pool] keeps a few children, which
// are this same binary started again; each serves one task after another, a
// WASI module or a native command, and is killed when a task must end and
// cannot be asked to.
//
// Enter it through [ServeIfChild], which must be the first call of main (and of
// TestMain), then [NewPool] and [Pool.Run]. [CompileGo] and [CheckWasm] turn a
// submitter's file into a module that can run.
//
// What a program sees: its input on standard input; standard output, which is
// its result; standard error, which is its log. A wasm module also gets the
// files that travel with it, read-only, in "/", and nothing else of the
// machine: no network, no environment, a virtual clock, and a random source
// that is a function of [Run.Seed]. A command runs as `sh -c` in a private
// folder that is removed with it; it has the rights of the node's user and
// no sandbox yet.
//
// Concurrency: a Pool may be used from any goroutine, and nodes in one process
// share one. Run calls In.Read and Out.Write each from one goroutine at a time,
// and not after it has returned.
package guest
