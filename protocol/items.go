package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// messageDecoding is decoding for what arrives on a stream: its lists are
// shorter than those of documents.
var messageDecoding = must(messageOptions().DecMode())

func messageOptions() cbor.DecOptions {
	o := decodingOptions()
	o.MaxArrayElements = MaxList
	return o
}

// decodeMessage is Decode for what a peer says directly. It counts before it
// decodes, since a list takes memory for each of its elements before any of
// them can be looked at.
func decodeMessage(b []byte, v any) error {
	if n := countItems(b); n > MaxItems {
		return fmt.Errorf("decoding a %T: %w: more than %d items", v, ErrBounds, MaxItems)
	}
	if err := messageDecoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decoding a %T: %w", v, err)
	}
	return nil
}

// countItems counts the CBOR items of b, nested ones too (RFC 8949, section 3):
// the heads that follow one another once the content of strings is skipped. It
// stops beyond MaxItems and at what is malformed, which decoding refuses.
func countItems(b []byte) int {
	n := 0
	for len(b) > 0 && n <= MaxItems {
		n++
		major, info := b[0]>>5, b[0]&31
		arg, size := uint64(info), 0
		if info >= 24 && info <= 27 {
			size = 1 << (info - 24)
			if len(b) <= size {
				return n
			}
			var wide [8]byte
			copy(wide[8-size:], b[1:1+size])
			arg = binary.BigEndian.Uint64(wide[:])
		}
		b = b[1+size:]
		if major == 2 || major == 3 { // strings of bytes and of text
			if arg > uint64(len(b)) {
				return n
			}
			b = b[arg:]
		}
	}
	return n
}
