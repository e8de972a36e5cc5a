package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

// link makes different CIDs for tests that need some.
func link(text string) CID { return NewCID(CodecRaw, []byte(text)) }

func drawCID(t *rapid.T, label string) CID {
	codec := rapid.SampledFrom([]uint64{CodecRaw, CodecDagPB, CodecDagCBOR}).Draw(t, label+" codec")
	return NewCID(codec, rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, label))
}

func TestCIDIsTheOneOfIPFS(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		codec := rapid.SampledFrom([]uint64{CodecRaw, CodecDagPB, CodecDagCBOR}).Draw(t, "codec")
		want, err := cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: -1}.Sum(data)
		if err != nil {
			t.Fatal(err)
		}
		c := NewCID(codec, data)
		if c.Cid() != want || c.String() != want.String() || c.Codec() != codec {
			t.Fatalf("NewCID gives %s, the library %s", c, want)
		}
		if back, err := FromCid(want); err != nil || back != c {
			t.Fatalf("FromCid(%s) = %s, %v", want, back, err)
		}
		if !c.Verify(data) || c.Verify(append(data, 0)) {
			t.Fatalf("%s verifies the wrong bytes", c)
		}
	})
}

func TestCIDRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawCID(t, "cid")
		if rapid.Bool().Draw(t, "zero") {
			want = ""
		}
		var got CID
		if err := Decode(Encode(want), &got); err != nil || got != want {
			t.Fatalf("by CBOR: %s, %v", got, err)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Fatalf("by JSON: %s, %v", got, err)
		}
		if !want.Defined() {
			return
		}
		if got, err = ParseCID(want.String()); err != nil || got != want {
			t.Fatalf("by text: %s, %v", got, err)
		}
	})
}

func TestParseCIDRefuses(t *testing.T) {
	sum := func(version, codec, hash uint64, length int) string {
		c, err := cid.Prefix{Version: version, Codec: codec, MhType: hash, MhLength: length}.Sum([]byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		return c.String()
	}
	good := link("x").String()
	for name, text := range map[string]string{
		"nothing":          "",
		"a word":           "hello",
		"a path":           "/ipfs/" + good,
		"one letter short": good[:len(good)-1],
		"one letter more":  good + "a",
		"a space":          " " + good,
		"version 0":        sum(0, CodecDagPB, multihash.SHA2_256, -1),
		"another hash":     sum(1, CodecRaw, multihash.SHA2_512, -1),
		"a shorter hash":   sum(1, CodecRaw, multihash.SHA2_256, 20),
		"another codec":    sum(1, cid.DagJSON, multihash.SHA2_256, -1),
		"much":             strings.Repeat("b", 1<<20),
	} {
		if c, err := ParseCID(text); !errors.Is(err, ErrCID) || c != "" {
			t.Errorf("%s: ParseCID gives %s, %v", name, c, err)
		}
	}
}

func TestZeroCID(t *testing.T) {
	var c CID
	if c.Defined() || c.String() != "" || c.Codec() != 0 || c.Cid() != cid.Undef || c.Verify(nil) {
		t.Error("the zero CID names something")
	}
}

// FuzzCID holds that whatever decodes is a CID of the three forms, and that
// nothing else than its own encoding decodes to it.
func FuzzCID(f *testing.F) {
	f.Add(Encode(link("seed")))
	f.Add(Encode(CID("")))
	f.Add([]byte("\xd8\x2a\x58\x25\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c CID
		if err := Decode(b, &c); err != nil {
			return
		}
		if !bytes.Equal(Encode(c), b) {
			t.Fatalf("%x decodes to %s, which encodes to %x", b, c, Encode(c))
		}
		if _, err := FromCid(c.Cid()); c.Defined() && err != nil {
			t.Fatalf("%x decodes to a CID that does not parse: %v", b, err)
		}
	})
}
