package guest

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestHeadTail holds the ring to a plain model.
func TestHeadTail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 20).Draw(t, "limit")
		l := newHeadTail(int64(limit))
		var all []byte
		for i := range rapid.IntRange(0, 12).Draw(t, "writes") {
			p := rapid.SliceOfN(rapid.Byte(), 0, 15).Draw(t, fmt.Sprint("write", i))
			all = append(all, p...)
			if n, err := l.Write(p); n != len(p) || err != nil {
				t.Fatalf("wrote %d, %v", n, err)
			}
		}
		want := all
		if gone := len(all) - limit; gone > 0 {
			head, tail := all[:(limit+1)/2], all[len(all)-limit/2:]
			want = fmt.Appendf(bytes.Clone(head), "\n... %d bytes left out ...\n", gone)
			want = append(want, tail...)
		}
		if got := l.Bytes(); !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}
