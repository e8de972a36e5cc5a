package rules

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestOnePackageCommentPerPackage(t *testing.T) {
	comments, seen := map[string][]string{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() || s.alone() {
			continue
		}
		id := s.dir() + " (package " + s.ast.Name.Name + ")"
		seen[id] = true
		if s.ast.Doc != nil {
			comments[id] = append(comments[id], s.name)
		}
	}
	for id := range seen {
		if n := len(comments[id]); n != 1 {
			t.Errorf("%s has %d package comments %v: one says what it is for, how to enter it and what it guarantees", id, n, comments[id])
		}
	}
}

// A file that grows past these holds two ideas.
const (
	maxLines     = 500
	maxTestLines = 800
)

func TestFilesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		limit := maxLines
		if s.isTest() {
			limit = maxTestLines
		}
		if n := strings.Count(s.text, "\n"); n > limit && !ast.IsGenerated(s.ast) {
			t.Errorf("%s has %d lines, at most %d: split it by concept", s.name, n, limit)
		}
	}
}

func TestPackagesSayWhatTheyDo(t *testing.T) {
	vague := []string{"util", "utils", "common", "types", "helper", "helpers", "manager", "misc", "base"}
	for _, s := range sources(t) {
		name := strings.TrimSuffix(s.ast.Name.Name, "_test")
		for _, n := range []string{name, path.Base(s.dir())} {
			if slices.Contains(vague, n) {
				t.Errorf("%s: a package named %s says nothing", s.name, n)
			}
		}
	}
}

var (
	// Absolute paths that are somebody's machine.
	machinePath = regexp.MustCompile(`(^|[^\w.~/-])/(home|root|Users|work)/\w`)
	openEnd     = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
)

func TestNothingIsLeftOpen(t *testing.T) {
	for _, name := range files(t, ".go", ".md") {
		for i, line := range strings.Split(read(t, name), "\n") {
			if openEnd.MatchString(line) && strings.HasSuffix(name, ".go") {
				t.Errorf("%s:%d leaves something open: %s", name, i+1, strings.TrimSpace(line))
			}
			if machinePath.MatchString(line) {
				t.Errorf("%s:%d names a path of one machine: %s", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}
