package guest

import (
	"bytes"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 300), 1, 8).Draw(t, "contents")
		var wire bytes.Buffer
		c := newConn(&wire, &wire)
		for _, content := range sent {
			if err := c.send(frameOutput, content); err != nil {
				t.Fatal(err)
			}
		}
		buf := make([]byte, 100)
		for _, want := range sent {
			kind, got, err := c.receive(buf)
			if err != nil || kind != frameOutput || !bytes.Equal(got, want) {
				t.Fatalf("got %c %x %v, want %x", kind, got, err, want)
			}
		}
		if _, _, err := c.receive(buf); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
	})
}

// FuzzReceive: no bytes make it panic or take more memory than a frame may.
func FuzzReceive(f *testing.F) {
	f.Add([]byte("o\x00\x00\x00\x01x"))
	f.Add([]byte("o\xff\xff\xff\xffx"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		c := newConn(bytes.NewReader(wire), io.Discard)
		for {
			_, content, err := c.receive(nil)
			if err != nil {
				return
			}
			if len(content) > len(wire) {
				t.Fatalf("%d bytes out of %d", len(content), len(wire))
			}
		}
	})
}
