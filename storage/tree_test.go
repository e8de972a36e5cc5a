package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// write makes the files of a folder, by path.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o755))
		ok(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// read is the inverse of write.
func read(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	ok(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(b)
		return err
	}))
	return files
}

func TestImportAndExport(t *testing.T) {
	m := newMemory()
	src := t.TempDir()
	files := map[string]string{"a": "A", "b/c": "", "b/d/é.txt": "D", "large": string(noise(1, 2*ChunkSize+9)), "b.x": "X"}
	for i := range 6000 { // a HAMT
		files[fmt.Sprintf("many/%s-%d", strings.Repeat("n", 20), i)] = fmt.Sprint(i % 10)
	}
	write(t, src, files)
	ok(t, os.Mkdir(filepath.Join(src, "empty"), 0o755))
	last := int64(0)
	im, err := Import(t.Context(), m, src, func(bytes int64) { last = bytes })
	ok(t, err)
	equal(t, "files", im.Files, len(files))
	equal(t, "reported", last, im.Bytes)
	info, err := Stat(t.Context(), m, im.Root)
	ok(t, err)
	equal(t, "stat", info, Info{Dir: true, Size: im.Bytes, Files: im.Files})

	out := filepath.Join(t.TempDir(), "out")
	ok(t, Export(t.Context(), m, im.Root, out, func(bytes int64) { last += bytes * 0 }))
	got := read(t, out)
	equal(t, "files that came back", len(got), len(files))
	for name, text := range files {
		equal(t, "content of "+name, got[name] == text, true)
	}
	_, err = os.Stat(filepath.Join(out, "empty"))
	ok(t, err)
	again, err := Import(t.Context(), newMemory(), out, nil)
	ok(t, err)
	equal(t, "root of the copy", again.Root, im.Root)
	if err := Export(t.Context(), m, im.Root, out, nil); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("wrote over what was there: %v", err)
	}
	single, err := Import(t.Context(), m, filepath.Join(src, "a"), nil)
	ok(t, err)
	equal(t, "root of a file", single.Root, raw([]byte("A")))
}

func TestImportRefusesWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	_, err := Import(t.Context(), newMemory(), dir, nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "link")) || !strings.Contains(err.Error(), "symbolic link") {
		t.Fatalf("got %v", err)
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	ok(t, syscall.Mkfifo(pipe, 0o600))
	if _, err := Import(t.Context(), newMemory(), pipe, nil); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Fatalf("got %v", err)
	}
	if _, err := Import(t.Context(), newMemory(), filepath.Join(dir, "absent"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("got %v", err)
	}
}

func TestImportReportsTheStoresError(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/b": "x", "c": "y", "d": "z"})
	_, err := Import(t.Context(), fullPutter{}, dir, nil)
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Import(ctx, newMemory(), dir, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

type fullPutter struct{}

func (fullPutter) Put(context.Context, protocol.CID, []byte) error { return full(syscall.ENOSPC) }

func TestExportLeavesNothingBehind(t *testing.T) {
	m := newMemory()
	file, _ := putLeaf(t.Context(), m, []byte("x"))
	named := func(names ...string) protocol.CID {
		n := fsNode{kind: kindDirectory}
		for _, name := range names {
			n.links = append(n.links, pbLink{name: name, cid: file.link.cid, total: 1})
		}
		return m.node(t, &n)
	}
	slot := fsNode{kind: kindHAMT, hash: hashMurmur3, fanout: 256}
	slot.links = []pbLink{{name: "00../../x", cid: file.link.cid, total: 1}}
	missing := fsNode{kind: kindDirectory, links: []pbLink{{name: "a", cid: file.link.cid}, {name: "b", cid: raw([]byte("missing"))}}}
	deep := fsNode{kind: kindDirectory}
	for range maxNesting + 2 {
		deep = fsNode{kind: kindDirectory, links: []pbLink{{name: "d", cid: m.node(t, &deep)}}}
	}
	for name, root := range map[string]protocol.CID{
		"parent":          named(".."),
		"here":            named("."),
		"nested":          named("a/b"),
		"absolute":        named("/etc/x"),
		"nul":             named("a\x00b"),
		"no name":         named(""),
		"twice":           named("a", "a"),
		"too long":        named(strings.Repeat("a", 256)),
		"in a HAMT":       m.node(t, &slot),
		"missing block":   m.node(t, &missing),
		"too deep":        m.node(t, &deep),
		"a symbolic link": m.node(t, &fsNode{kind: kindSymlink, data: []byte("/")}),
	} {
		dir := t.TempDir()
		if err := Export(t.Context(), m, root, filepath.Join(dir, "out"), nil); err == nil {
			t.Errorf("%s: written", name)
		}
		left, err := os.ReadDir(dir)
		ok(t, err)
		equal(t, name+": files left", len(left), 0)
	}
}

func TestFilesComeInByteOrderOfPaths(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newMemory()
		root, paths := drawFolder(r, t, m, "", 3)
		slices.Sort(paths)
		var got []string
		ok(t, Files(t.Context(), m, root.cid, func(path string, _ protocol.CID, size int64) error {
			equal(t, path, size, 1)
			got = append(got, path)
			return nil
		}))
		if !slices.Equal(got, paths) {
			r.Fatalf("got %q, want %q", got, paths)
		}
	})
}

func drawFolder(r *rapid.T, t *testing.T, m *memory, path string, depth int) (pbLink, []string) {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-c\-.0é]{1,3}`), 0, 5, rapid.ID[string]).Draw(r, "names")
	var links []pbLink
	var paths []string
	for _, name := range names {
		if !plainName(name) {
			continue
		}
		var link pbLink
		if depth > 0 && rapid.Bool().Draw(r, "folder") {
			var below []string
			link, below = drawFolder(r, t, m, path+name+"/", depth-1)
			paths = append(paths, below...)
		} else {
			leaf, err := putLeaf(t.Context(), m, []byte("x"))
			ok(t, err)
			link = leaf.link
			paths = append(paths, path+name)
		}
		link.name = name
		links = append(links, link)
	}
	dir, err := putDirectory(t.Context(), m, links)
	ok(t, err)
	return dir, paths
}

func TestFilesOfAFile(t *testing.T) {
	m := newMemory()
	c := m.add(t, noise(1, ChunkSize+1))
	calls := 0
	ok(t, Files(t.Context(), m, c, func(path string, file protocol.CID, size int64) error {
		calls++
		equal(t, "path", path, "")
		equal(t, "file", file, c)
		equal(t, "size", size, ChunkSize+1)
		return nil
	}))
	equal(t, "calls", calls, 1)
}

// TestFolderBombEnds lists a few blocks that span 100^20 files.
func TestFolderBombEnds(t *testing.T) {
	m := newMemory()
	leaf, err := putLeaf(t.Context(), m, nil)
	ok(t, err)
	link := leaf.link
	for range 20 {
		n := fsNode{kind: kindDirectory}
		for i := range 100 {
			link.name = fmt.Sprintf("%02d", i)
			n.links = append(n.links, link)
		}
		link.cid = m.node(t, &n)
	}
	visits := 0
	ok(t, Walk(t.Context(), m, link.cid, func(protocol.CID, []byte) error { visits++; return nil }))
	equal(t, "distinct blocks", visits, 21)
	budget := 5000
	w := fileWalk{get: m, visit: func(string, protocol.CID, int64) error { return nil }, budget: budget}
	if err := w.walk(t.Context(), "", link, 0); !errors.Is(err, errMalformed) {
		t.Fatalf("got %v", err)
	}
}

func TestConcatAndParts(t *testing.T) {
	for _, count := range []int{0, 1, 2, 1023, 1024, 1025, 2048, 2049, 5000} {
		m := newMemory()
		var level []Part
		var want []byte
		for i := range count {
			data := bytes.Repeat([]byte{byte(i)}, i%3)
			want = append(want, data...)
			level = append(level, Part{CID: m.add(t, data), Size: int64(len(data))})
		}
		leaves := slices.Clone(level)
		for first := true; first || len(level) > 1; first = false {
			var next []Part
			for group := range slices.Chunk(level, protocol.ConcatWidth) {
				c, size, err := Concat(t.Context(), m, group)
				ok(t, err)
				next = append(next, Part{CID: c, Size: size})
			}
			if count == 0 {
				c, size, err := Concat(t.Context(), m, nil)
				ok(t, err)
				next = []Part{{CID: c, Size: size}}
			}
			level = next
		}
		f, err := NewFile(t.Context(), m, level[0].CID)
		ok(t, err)
		var out bytes.Buffer
		_, err = f.WriteTo(&out)
		ok(t, err)
		if !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("%d parts: other bytes", count)
		}
		parts, err := Parts(t.Context(), m, level[0].CID, count)
		ok(t, err)
		if !slices.Equal(parts, leaves) {
			t.Fatalf("%d parts: others came back", count)
		}
		for _, wrong := range []int{count + 1, -1, protocol.MaxTasks + 1} {
			if _, err := Parts(t.Context(), m, level[0].CID, wrong); err == nil && count > 0 {
				t.Errorf("%d parts were taken for %d", count, wrong)
			}
		}
	}
	if _, _, err := Concat(t.Context(), newMemory(), make([]Part, protocol.ConcatWidth+1)); err == nil {
		t.Error("joined too many")
	}
	if _, _, err := Concat(t.Context(), newMemory(), make([]Part, 2)); err == nil {
		t.Error("joined nothings")
	}
}

func TestGoSourceTreeHasOnlyFiles(t *testing.T) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	ok(t, err)
	src := filepath.Join(strings.TrimSpace(string(root)), "src", "encoding")
	s := open(t, t.TempDir())
	im, err := Import(t.Context(), s, src, nil)
	ok(t, err)
	if im.Files < 10 {
		t.Fatalf("%d files", im.Files)
	}
}
