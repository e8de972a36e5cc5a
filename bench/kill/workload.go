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
	spec node.JobSpec
	runs string // file with the number of each task that was started, and again with endMark when it had slept
	want []byte
}

// endMark follows the number of a task that has ended.
const endMark = '.'

// newWorkload writes the input and knows the result.
func newWorkload(dir, name string, tasks int, length time.Duration, copies int) (*workload, error) {
	w := &workload{runs: filepath.Join(dir, name+".runs")}
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
	if err := os.WriteFile(w.runs, nil, 0o600); err != nil {
		return nil, fmt.Errorf("making the file of runs: %w", err)
	}
	// One short append is atomic, so concurrent tasks do not mix.
	command := fmt.Sprintf(`while read k; do echo $k >>'%[1]s'; sleep %.3[2]f; echo $k $((k*k)); echo $k%[3]c >>'%[1]s'; done`, w.runs, length.Seconds(), endMark)
	w.spec = node.JobSpec{
		Name: name, Map: node.ProgramSpec{Kind: protocol.Exec, Command: command},
		Inputs: []string{path}, Split: lineBytes, Copies: copies, Mode: protocol.Strict,
	}
	return w, nil
}

// testimony is what the tasks themselves wrote.
type testimony struct {
	starts int // in all
	again  int // tasks that were started more than once
	redone int // tasks that were started after a run of them had ended
}

// testimony counts the runs of tasks. Lines stand in the order of time.
func (w *workload) testimony() (testimony, error) {
	b, err := os.ReadFile(w.runs)
	if err != nil {
		return testimony{}, fmt.Errorf("reading the runs: %w", err)
	}
	var t testimony
	times, ended, redone := map[int]int{}, map[int]bool{}, map[int]bool{}
	for _, field := range bytes.Fields(b) {
		number, isEnd := bytes.CutSuffix(field, []byte{endMark})
		k, err := strconv.Atoi(string(number))
		if err != nil {
			return testimony{}, fmt.Errorf("reading the runs: %w", err)
		}
		if isEnd {
			ended[k] = true
			continue
		}
		t.starts++
		if times[k]++; times[k] == 2 {
			t.again++
		}
		redone[k] = redone[k] || ended[k]
	}
	for _, yes := range redone {
		if yes {
			t.redone++
		}
	}
	return t, nil
}
