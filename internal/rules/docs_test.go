package rules

import (
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	fuzzCommand  = regexp.MustCompile(`-fuzz[= ]'?\^?(Fuzz\w+)\$?'?.*?\s\./([\w/]+)`)
	goRun        = regexp.MustCompile(`\bgo (?:run|build)(?: -[\w=]+)* \./([\w/]+)`)
)

// TestLinksResolve holds that what a document points to in the tree is there.
func TestLinksResolve(t *testing.T) {
	for _, name := range files(t, ".md") {
		for _, m := range markdownLink.FindAllStringSubmatch(read(t, name), -1) {
			target, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: the link %s is malformed: %v", name, m[1], err)
				continue
			}
			if target.IsAbs() || target.Path == "" {
				continue
			}
			if !exists(t, path.Join(path.Dir(name), target.Path)) {
				t.Errorf("%s points to %s, which does not exist", name, m[1])
			}
		}
	}
}

// TestCommandsInDocumentsExist holds that the programs and fuzz targets that
// documents and checks name are there.
func TestCommandsInDocumentsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, s := range sources(t) {
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(s.text, -1) {
			targets[s.dir()+" "+m[1]] = true
		}
	}
	for _, name := range append(files(t, ".md"), ".ci/run") {
		text := read(t, name)
		for _, m := range fuzzCommand.FindAllStringSubmatch(text, -1) {
			if dir := strings.TrimSuffix(m[2], "/"); !targets[dir+" "+m[1]] {
				t.Errorf("%s names the fuzz target %s of ./%s, which does not exist", name, m[1], dir)
			}
		}
		for _, m := range goRun.FindAllStringSubmatch(text, -1) {
			if !exists(t, m[1]) {
				t.Errorf("%s runs ./%s, which does not exist", name, m[1])
			}
		}
	}
}

// TestChecksRunTheDocumentedTests holds that the command a newcomer is told to
// run is the one that is checked.
func TestChecksRunTheDocumentedTests(t *testing.T) {
	for _, name := range []string{"README.md", "CONTRIBUTING.md", ".ci/run"} {
		if !strings.Contains(read(t, name), "go test ./...") {
			t.Errorf("%s does not name the test command, go test ./...", name)
		}
	}
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(name)))
	return err == nil
}
