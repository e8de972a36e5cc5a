package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/examples/wordcount"
	"github.com/meshnode/meshnode/node"
)

// sourceTree finds the folder whose words are counted.
func sourceTree(given string) (string, error) {
	if given != "" {
		info, err := os.Stat(given)
		if err != nil {
			return "", hinted(fmt.Errorf("%s: no such folder", given), "name a folder with some megabytes of text")
		}
		if !info.IsDir() {
			return "", hinted(fmt.Errorf("%s is not a folder", given), "name a folder with some megabytes of text")
		}
		return filepath.Abs(given)
	}
	roots := []string{"/usr/local/go", "/usr/lib/go"}
	if out, err := exec.Command("go", "env", "GOROOT").Output(); err == nil {
		roots = slices.Insert(roots, 0, strings.TrimSpace(string(out)))
	}
	for _, root := range roots {
		src := filepath.Join(root, "src")
		if info, err := os.Stat(src); root != "" && err == nil && info.IsDir() {
			return src, nil
		}
	}
	return "", hinted(errors.New("no Go source tree was found on this machine"), "name a folder with some megabytes of text: meshnode demo --in FOLDER")
}

// listFiles lists the files that the sequential count reads.
func (d *demo) listFiles() error {
	return filepath.WalkDir(d.folder, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			d.files = append(d.files, path)
		}
		return err
	})
}

// faultCounter is a log handler that counts what the nodes say of faults. Every
// steward of a task says that its claim was lost, so tasks are counted, not
// what is said.
type faultCounter struct {
	takeovers atomic.Int64

	mu      sync.Mutex
	claims  map[string]bool // tasks
	results map[string]bool
}

func newFaultCounter() *faultCounter {
	return &faultCounter{claims: map[string]bool{}, results: map[string]bool{}}
}

func (f *faultCounter) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (f *faultCounter) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "claim lost":
		f.count(f.claims, r)
	case "result lost, to be computed again":
		f.count(f.results, r)
	case "stewardship taken up":
		f.takeovers.Add(1)
	}
	return nil
}

// count notes the task that a record is about.
func (f *faultCounter) count(tasks map[string]bool, r slog.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "task" {
			tasks[a.Value.String()] = true
		}
		return a.Key != "task"
	})
}

// lost is how many tasks were lost by a node that held them, and how many
// results.
func (f *faultCounter) lost() (claims, results int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.claims), len(f.results)
}

func (f *faultCounter) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f *faultCounter) WithGroup(string) slog.Handler      { return f }

func (d *demo) names(ids []peer.ID) string {
	var out []string
	for _, id := range ids {
		out = append(out, d.name(d.net.Index(id)))
	}
	return strings.Join(out, ", ")
}

// report prints the most frequent words, who did what, and what was lost.
func (d *demo) report(st node.JobStatus, result []byte) {
	fmt.Fprintf(d.out, "\nThe %d most frequent words of %d files:\n", demoTop, len(d.files))
	for _, w := range topWords(result, demoTop) {
		fmt.Fprintf(d.out, "%10d  %s\n", w.count, printable(w.word))
	}
	type share struct {
		name  string
		tasks int
	}
	var shares []share
	for id, tasks := range st.Workers {
		shares = append(shares, share{d.name(d.net.Index(id)), tasks})
	}
	slices.SortFunc(shares, func(a, b share) int { return strings.Compare(a.name, b.name) })
	fmt.Fprintf(d.out, "\nTasks done by each of %d workers:\n", len(shares))
	for i, s := range shares {
		end := "   "
		if i%6 == 5 || i == len(shares)-1 {
			end = "\n"
		}
		fmt.Fprintf(d.out, "  %s %2d%s", s.name, s.tasks, end)
	}
	claims, results := d.faults.lost()
	fmt.Fprintf(d.out, "\nKilled %d of %d nodes. %s held by a node that fell silent and offered again, %s had no copy left\nand were computed again; for %d tasks, %d runs came to an end. A steward took the job over %s.\n",
		len(d.killed), d.net.Len(), wereTasks(claims), count(results, "finished result"), st.Total, st.Executions,
		count(int(d.faults.takeovers.Load())-1, "time"))
}

func wereTasks(n int) string {
	if n == 1 {
		return "1 task was"
	}
	return count(n, "task") + " were"
}

type wordCount struct {
	word  string
	count int
}

// topWords reads a sorted list of word, tab, count and returns the words with
// the highest counts.
func topWords(result []byte, n int) []wordCount {
	var all []wordCount
	lines := bufio.NewScanner(bytes.NewReader(result))
	lines.Buffer(nil, len(result)+1)
	for lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), "\t")
		if c, err := strconv.Atoi(number); err == nil {
			all = append(all, wordCount{word, c})
		}
	}
	slices.SortStableFunc(all, func(a, b wordCount) int { return b.count - a.count })
	return all[:min(n, len(all))]
}

// compare counts the words in one goroutine and holds the mesh's result
// against it.
func (d *demo) compare(result []byte) error {
	began := time.Now()
	var want bytes.Buffer
	if err := wordcount.Count(&want, wordcount.Files(d.files)); err != nil {
		return err
	}
	fmt.Fprintln(d.out)
	d.say("one goroutine counted the same files in %s", formatDuration(time.Since(began)))
	if !bytes.Equal(result, want.Bytes()) {
		return fmt.Errorf("the mesh's count (%d bytes) is NOT the sequential one (%d bytes)", len(result), want.Len())
	}
	d.say("the two counts are equal, byte for byte: %s, %d words", formatBytes(int64(want.Len())), bytes.Count(result, []byte("\n")))
	return nil
}
