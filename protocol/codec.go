package protocol

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// ErrTooLarge is returned for a message beyond its limit.
var ErrTooLarge = errors.New("message too large")

// encoding is RFC 8949's core deterministic encoding: equal values give equal
// bytes, so documents can be named by their hash. Times travel in
// microseconds.
var encoding = must(encodingOptions().EncMode())

func encodingOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeUnixMicro // jobs of a few milliseconds have a length too
	return o
}

// decoding refuses what a well-meaning peer never sends: duplicate keys, deep
// nesting, indefinite lengths and huge collections.
var decoding = must(decodingOptions().DecMode())

func decodingOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		MaxNestedLevels:  16,
		MaxArrayElements: 1 << 17,
		MaxMapPairs:      1 << 12,
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// Encode returns the deterministic encoding of v. It panics for a type that
// cannot be encoded: that is a mistake in the program, not in its input.
func Encode(v any) []byte { return must(encoding.Marshal(v)) }

// Decode reads one value from b into v and fails for anything malformed.
func Decode(b []byte, v any) error {
	if err := decoding.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decoding a %T: %w", v, err)
	}
	return nil
}

// WriteFrame writes b behind its length as an unsigned varint.
func WriteFrame(w io.Writer, b []byte) error {
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: %d bytes to send", ErrTooLarge, len(b))
	}
	frame := make([]byte, 0, len(b)+binary.MaxVarintLen32)
	frame = append(binary.AppendUvarint(frame, uint64(len(b))), b...)
	_, err := w.Write(frame)
	return err
}

// ReadFrame reads what WriteFrame wrote, of at most limit bytes. At a clean end
// of the stream it returns io.EOF, and ErrTooLarge before it reads too long a
// frame.
func ReadFrame(r *bufio.Reader, limit int) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooLarge, n, limit)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF { // the stream ended right behind the length
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("reading a frame: %w", err)
	}
	return b, nil
}
