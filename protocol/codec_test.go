package protocol

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

func TestEncodingIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.String(), func(s string) string { return s }).Draw(t, "keys")
		a, b := map[string]int{}, map[string]int{}
		for i, k := range keys {
			a[k] = i
		}
		for i := len(keys) - 1; i >= 0; i-- {
			b[keys[i]] = i
		}
		if !bytes.Equal(Encode(a), Encode(b)) {
			t.Fatal("equal maps give different bytes")
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	deep := append(bytes.Repeat([]byte{0x81}, 40), 0)
	for name, c := range map[string]struct {
		bytes []byte
		into  any
	}{
		"nothing":                 {nil, new(Ack)},
		"a key twice":             {[]byte{0xa2, 2, 1, 2, 3}, new(Ack)},
		"an indefinite array":     {[]byte{0x9f, 1, 0xff}, new([]int)},
		"an indefinite string":    {[]byte{0x5f, 0x41, 1, 0xff}, new([]byte)},
		"deep nesting":            {deep, new(any)},
		"bytes that follow":       {append(Encode(1), 1), new(int)},
		"an array that is short":  {[]byte{0x9a, 0, 0, 0xff, 0xff, 1}, new([]int)},
		"an array beyond bounds":  {append([]byte{0x9a, 0, 2, 0, 1}, make([]byte, 1<<17+1)...), new([]int)},
		"a text for a number":     {Encode("1"), new(int)},
		"a malformed peer":        {[]byte{0xa1, 2, 0x81, 0x41, 0}, new(Hold)},
		"a link that is no link":  {[]byte{0xd8, 42, 0x41, 0}, new(CID)},
		"undefined for a CID":     {[]byte{0xf7}, new(CID)},
		"a map with 4,097 pairs":  {manyPairs(1<<12 + 1), new(map[int]int)},
		"a digest one byte short": {Encode(make([]byte, 31)), new([]Digest)},
	} {
		if err := Decode(c.bytes, c.into); err == nil {
			t.Errorf("%s: decodes to %v", name, c.into)
		}
	}
}

func manyPairs(n int) []byte {
	m := map[int]int{}
	for i := range n {
		m[i] = i
	}
	return Encode(m)
}

func TestTimesTravelInMicroseconds(t *testing.T) {
	want := time.Date(2026, 11, 22, 13, 14, 15, 999, time.FixedZone("", 3600))
	for _, at := range []time.Time{want, {}} {
		var got time.Time
		if err := Decode(Encode(at), &got); err != nil || got.Sub(at).Abs() > time.Microsecond {
			t.Errorf("%s arrives as %s, %v", at, got, err)
		}
	}
}

func TestFramesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "frames")
		var stream bytes.Buffer
		for _, f := range frames {
			if err := WriteFrame(&stream, f); err != nil {
				t.Fatal(err)
			}
		}
		r := bufio.NewReader(iotest.OneByteReader(&stream))
		for i, want := range frames {
			if got, err := ReadFrame(r, MaxMessage); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("frame %d arrives as %x, %v", i, got, err)
			}
		}
		if _, err := ReadFrame(r, MaxMessage); err != io.EOF {
			t.Fatalf("after the last frame: %v", err)
		}
	})
}

func TestFramesAreBounded(t *testing.T) {
	if err := WriteFrame(io.Discard, make([]byte, MaxMessage+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("writing too much: %v", err)
	}
	if err := WriteFrame(io.Discard, make([]byte, MaxMessage)); err != nil {
		t.Errorf("writing as much as is allowed: %v", err)
	}
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"one byte too many":      {append([]byte{5}, "12345"...), ErrTooLarge},
		"2^63 bytes":             {binary.AppendUvarint(nil, 1<<63), ErrTooLarge},
		"the length breaks off":  {[]byte{0x80}, io.ErrUnexpectedEOF},
		"the content is missing": {[]byte{4}, io.ErrUnexpectedEOF},
		"the content breaks off": {append([]byte{4}, "123"...), io.ErrUnexpectedEOF},
	} {
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(c.stream)), 4); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
	if _, err := ReadFrame(bufio.NewReader(strings.NewReader(strings.Repeat("\xff", 20))), 4); err == nil {
		t.Error("a length without end is read")
	}
}

func TestReadFrameKeepsTheCause(t *testing.T) {
	cause := errors.New("deadline")
	r := io.MultiReader(bytes.NewReader([]byte{4, 1}), iotest.ErrReader(cause))
	if _, err := ReadFrame(bufio.NewReader(r), 4); !errors.Is(err, cause) {
		t.Errorf("ReadFrame hides the cause: %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3})
	f.Add(binary.AppendUvarint(nil, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadFrame(bufio.NewReader(bytes.NewReader(b)), 1<<10)
		if err == nil && (len(got) > 1<<10 || !bytes.Contains(b, got)) {
			t.Fatalf("%x reads as %x", b, got)
		}
	})
}
