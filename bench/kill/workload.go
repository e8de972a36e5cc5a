package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/meshnode/meshnode/node"
	"github.com/meshnode/meshnode/protocol"
)

// lineBytes is the length of an input line, and so of a split: one task each.
const lineBytes = 16

// workload is a job whose tasks are known.
type workload struct {
	spec   node.JobSpec
	starts string // file with the number of each task that was started
	want   []byte
}

// newWorkload writes the input and knows the result.
func newWorkload(dir, name string, tasks int, length time.Duration, copies int) (*workload, error) {
	w := &workload{starts: filepath.Join(dir, name+".starts")}
	var input, want bytes.Buffer
	for k := range tasks {
		fmt.Fprintf(&input, "%-*d\n", lineBytes-1, k)
		fmt.Fprintf(&want, "%d %d\n", k, k*k)
	}
	w.want = want.Bytes()
	path := filepath.Join(dir, name+".input")
	if err := os.WriteFile(path, input.Bytes(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the input: %w", err)
	}
	if err := os.WriteFile(w.starts, nil, 0o600); err != nil {
		return nil, fmt.Errorf("making the file of starts: %w", err)
	}
	// One short append is atomic, so concurrent tasks do not mix.
	command := fmt.Sprintf(`while read k; do echo $k >>'%s'; sleep %.3f; echo $k $((k*k)); done`, w.starts, length.Seconds())
	w.spec = node.JobSpec{
		Name: name, Map: node.ProgramSpec{Kind: protocol.Exec, Command: command},
		Inputs: []string{path}, Split: lineBytes, Copies: copies, Strict: true,
	}
	return w, nil
}

// started returns how many tasks were started in all, and how many of the tasks
// more than once.
func (w *workload) started() (all, again int, err error) {
	b, err := os.ReadFile(w.starts)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the starts: %w", err)
	}
	times := map[int]int{}
	for _, field := range bytes.Fields(b) {
		k, err := strconv.Atoi(string(field))
		if err != nil {
			return 0, 0, fmt.Errorf("reading the starts: %w", err)
		}
		all++
		if times[k]++; times[k] == 2 {
			again++
		}
	}
	return all, again, nil
}
