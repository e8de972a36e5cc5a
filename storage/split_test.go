package storage

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// folder stores files by name and returns the root.
func (m *memory) folder(t testing.TB, files map[string][]byte) protocol.CID {
	t.Helper()
	var links []pbLink
	for name, data := range files {
		links = append(links, pbLink{cid: m.add(t, data), name: name, total: uint64(len(data))})
	}
	dir, err := putDirectory(t.Context(), m, links)
	ok(t, err)
	return dir.cid
}

// records is what all splits give, one after another.
func (m *memory) records(t testing.TB, table protocol.CID, count int) []byte {
	t.Helper()
	var out bytes.Buffer
	for i := range count {
		ranges, err := ReadSplit(t.Context(), m, table, i)
		ok(t, err)
		_, err = io.Copy(&out, NewSplitReader(t.Context(), m, ranges))
		ok(t, err)
	}
	return out.Bytes()
}

// record draws a line without its end: empty, short, long, with CR or NUL.
func record(r *rapid.T) string {
	letters := rapid.SampledFrom([]string{"a", "bc", "\r", "\x00", "\t", "é"})
	text := strings.Join(rapid.SliceOfN(letters, 0, 8).Draw(r, "letters"), "")
	if rapid.IntRange(0, 9).Draw(r, "long") == 0 {
		text = strings.Repeat("x"+text, 40)
	}
	return text
}

func TestSplitsGiveEveryRecordOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		m := newMemory()
		var inputs []protocol.CID
		var want []byte
		for range rapid.IntRange(0, 5).Draw(r, "files") {
			lines := rapid.SliceOfN(rapid.Custom(record), 0, 12).Draw(r, "lines")
			text := strings.Join(lines, "\n")
			if rapid.Bool().Draw(r, "newline at the end") && text != "" {
				text += "\n"
			}
			inputs = append(inputs, chunked(t, m, []byte(text), rapid.IntRange(1, 50).Draw(r, "chunk")))
			want = append(want, text...)
			if text != "" && !strings.HasSuffix(text, "\n") {
				want = append(want, '\n')
			}
		}
		size := rapid.Int64Range(1, 200).Draw(r, "split")
		table, doc, err := PlanSplits(t.Context(), m, m, inputs, size)
		ok(t, err)
		if got := m.records(t, table, doc.Count); !bytes.Equal(got, want) {
			r.Fatalf("got %q, want %q", got, want)
		}
	})
}

// chunked stores data as a file of small leaves, so that records cross blocks.
func chunked(t testing.TB, m *memory, data []byte, size int) protocol.CID {
	t.Helper()
	var pieces []piece
	for len(data) > 0 {
		n := min(size, len(data))
		leaf, err := putLeaf(t.Context(), m, data[:n])
		ok(t, err)
		pieces, data = append(pieces, leaf), data[n:]
	}
	file, err := balance(t.Context(), m, pieces)
	ok(t, err)
	return file.link.cid
}

func TestSplitReaderIsAReader(t *testing.T) {
	m := newMemory()
	text := []byte("one\ntwo\n\nthree without end")
	c := chunked(t, m, text, 3)
	r := NewSplitReader(t.Context(), m, []protocol.Range{{File: c, Length: int64(len(text)), Size: int64(len(text))}})
	ok(t, iotest.TestReader(r, append(text, '\n')))
}

func TestPlanPacksAndCuts(t *testing.T) {
	m := newMemory()
	files := map[string][]byte{"big": noise(1, 250), "empty": nil}
	for i := range 600 {
		files[fmt.Sprintf("small-%04d", i)] = []byte{byte(i), byte(i >> 8), '\n'}
	}
	root := m.folder(t, files)
	table, doc, err := PlanSplits(t.Context(), m, m, []protocol.CID{root}, 100)
	ok(t, err)
	equal(t, "bytes", doc.Bytes, 250+600*3)
	first, err := ReadSplit(t.Context(), m, table, 0)
	ok(t, err)
	equal(t, "ranges of the first", len(first), 1)
	third, err := ReadSplit(t.Context(), m, table, 2)
	ok(t, err)
	equal(t, "the rest of the big file", third[0].Length, 50)
	equal(t, "packed with small ones", len(third), 17) // 50 + 16*3 bytes
	again, _, err := PlanSplits(t.Context(), m, m, []protocol.CID{root}, 100)
	ok(t, err)
	equal(t, "planned again", again, table)

	table, doc, err = PlanSplits(t.Context(), m, m, []protocol.CID{root}, 1<<20)
	ok(t, err)
	equal(t, "splits, by their number of ranges", doc.Count, 3)
	first, err = ReadSplit(t.Context(), m, table, 0)
	ok(t, err)
	equal(t, "ranges of the first", len(first), rangesPerSplit)
}

func TestPlanOfNothingIsOneEmptySplit(t *testing.T) {
	m := newMemory()
	for _, inputs := range [][]protocol.CID{nil, {m.add(t, nil)}, {m.folder(t, map[string][]byte{"a": nil})}} {
		table, doc, err := PlanSplits(t.Context(), m, m, inputs, 10)
		ok(t, err)
		equal(t, "splits", doc.Count, 1)
		ranges, err := ReadSplit(t.Context(), m, table, 0)
		ok(t, err)
		equal(t, "ranges", len(ranges), 0)
	}
}

func TestPlanRefusesTooManySplits(t *testing.T) {
	m := newMemory()
	c := m.add(t, make([]byte, protocol.MaxTasks+1))
	_, _, err := PlanSplits(t.Context(), m, m, []protocol.CID{c}, 1)
	if err == nil || !strings.Contains(err.Error(), "131073 splits") || !strings.Contains(err.Error(), "--split") {
		t.Fatalf("got %v", err)
	}
	small := m.folder(t, map[string][]byte{"a": make([]byte, protocol.MaxTasks-1), "b": {1}, "c": {1}})
	if _, _, err := PlanSplits(t.Context(), m, m, []protocol.CID{small}, 1); err == nil {
		t.Fatal("planned one split too many")
	}
	most := m.folder(t, map[string][]byte{"a": make([]byte, protocol.MaxTasks-1), "b": {1}})
	_, doc, err := PlanSplits(t.Context(), m, m, []protocol.CID{most}, 1)
	ok(t, err)
	equal(t, "splits", doc.Count, protocol.MaxTasks)
}

func TestFullPageFitsABlock(t *testing.T) {
	m := newMemory()
	pl := planner{put: m, size: 1 << 60}
	for range protocol.SplitsPerPage * rangesPerSplit {
		ok(t, pl.add(t.Context(), protocol.Range{File: m.add(t, nil), Offset: 1 << 40, Length: 1 << 40, Size: 1 << 41}))
	}
	ok(t, pl.finish(t.Context()))
	page, err := m.Get(t.Context(), pl.table.Pages[0])
	ok(t, err)
	if len(page) > protocol.MaxBlock*3/4 {
		t.Fatalf("a page of %d bytes", len(page))
	}
}

func TestSplitReadsOnlyItsBlocks(t *testing.T) {
	m := newMemory()
	line := []byte(strings.Repeat("x", 99) + "\n")
	data := bytes.Repeat(line, 1000)
	for i := range data { // no two blocks alike
		if data[i] == 'x' {
			data[i] = 'a' + byte(i*i/977%26)
		}
	}
	c := chunked(t, m, data, 1000)
	m.gets = nil
	r := NewSplitReader(t.Context(), m, []protocol.Range{{File: c, Offset: 50_000, Length: 10_000, Size: int64(len(data))}})
	got, err := io.ReadAll(r)
	ok(t, err)
	equal(t, "bytes", len(got), 10_000)
	// The root, the block before the range for its last byte, and ten.
	equal(t, "blocks read", len(m.gets), 12)
}

func TestSplitReaderRefusesALyingSize(t *testing.T) {
	m := newMemory()
	c := m.add(t, []byte("abc\n"))
	r := NewSplitReader(t.Context(), m, []protocol.Range{{File: c, Length: 3, Size: 3}})
	if _, err := io.ReadAll(r); err == nil {
		t.Fatal("read a file of another size")
	}
}
