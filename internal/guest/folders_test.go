package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
)

func TestFoldersOfLivePoolsStay(t *testing.T) {
	dir := t.TempDir()
	first, err := openFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := openFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(first.own); err != nil {
		t.Errorf("the second pool removed the first one's folder: %v", err)
	}
	for _, f := range []*folders{first, second} {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tasks")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestStaleFoldersGo(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "tasks", "old", "7", "read-only")
	if err := os.MkdirAll(stale, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := openFolders(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if _, err := os.Stat(filepath.Join(dir, "tasks", "old")); !os.IsNotExist(err) {
		t.Errorf("the folder of a pool that is gone is still there: %v", err)
	}
}

func TestCacheIsTrimmed(t *testing.T) {
	cache := t.TempDir()
	for i := range maxCached + 5 {
		path := filepath.Join(cache, fmt.Sprint(i))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000+i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	trimCache(cache)
	left, _ := os.ReadDir(cache)
	if _, err := os.Stat(filepath.Join(cache, "4")); len(left) != maxCached || err == nil {
		t.Errorf("%d files left, want the %d newest", len(left), maxCached)
	}
}

// TestBadConfiguration: what cannot work says why and hangs nobody.
func TestBadConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"no folder":     {Dir: filepath.Join(file, "x")},
		"no executable": {Executable: filepath.Join(t.TempDir(), "none")},
		"not our child": {Executable: "/bin/sh"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPool(t, cfg)
			for range 2 {
				wantKind(t, runShell(t, p, "true", ""), protocol.FailHost)
			}
		})
	}
	p := newTestPool(t, Config{})
	wantKind(t, runWith(t, p, Run{Program: Program{Kind: protocol.Func}}, ""), protocol.FailHost)
}
