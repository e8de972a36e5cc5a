package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Codecs of the blocks that the mesh keeps (the multicodec table's numbers).
const (
	CodecRaw     = cid.Raw
	CodecDagPB   = cid.DagProtobuf
	CodecDagCBOR = cid.DagCBOR
)

// ErrCID is returned for bytes or text that are not a content identifier of a
// kind the mesh stores: CIDv1 with a SHA2-256 multihash and the codec raw,
// dag-pb or dag-cbor.
var ErrCID = errors.New("not a content identifier of this mesh (CIDv1, sha2-256)")

// CID names a block by its content. It is the binary form of a CIDv1 with a
// SHA2-256 multihash, so it compares, sorts and serves as a map key. The zero
// value names nothing. Decoding checks the form: a CID from a peer is valid or
// zero.
type CID string

// NewCID returns the CID of data under codec, one of those above.
func NewCID(codec uint64, data []byte) CID {
	sum, prefix := sha256.Sum256(data), cidPrefix(codec)
	return CID(append(prefix[:], sum[:]...))
}

// FromCid converts from the IPFS library's type. It fails with ErrCID.
func FromCid(c cid.Cid) (CID, error) { return parseCID(c.Bytes()) }

// ParseCID reads the text form. It fails with ErrCID.
func ParseCID(text string) (CID, error) {
	if len(text) > 128 {
		return "", ErrCID
	}
	c, err := cid.Decode(text)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", ErrCID, text, err)
	}
	return parseCID(c.Bytes())
}

// cidPrefix is what precedes the hash: CIDv1, the codec, SHA2-256, 32 bytes.
// All three codecs are varints of one byte.
func cidPrefix(codec uint64) [4]byte {
	return [4]byte{1, byte(codec), multihash.SHA2_256, sha256.Size}
}

// cidBytes is the length of every CID: the prefix and the hash.
const cidBytes = 4 + sha256.Size

// parseCID compares with the only three forms there are: it runs for every CID
// of every message, and needs neither the general parser nor its allocations.
func parseCID(b []byte) (CID, error) {
	if len(b) == cidBytes {
		switch [4]byte(b) {
		case cidPrefix(CodecRaw), cidPrefix(CodecDagPB), cidPrefix(CodecDagCBOR):
			return CID(b), nil
		}
	}
	return "", fmt.Errorf("%w: %d bytes that begin with %x", ErrCID, len(b), b[:min(len(b), 4)])
}

// Cid converts to the IPFS library's type.
func (c CID) Cid() cid.Cid {
	if c == "" {
		return cid.Undef
	}
	_, out, err := cid.CidFromBytes([]byte(c))
	if err != nil {
		panic(fmt.Sprintf("protocol: a CID of %d bytes that was never parsed", len(c)))
	}
	return out
}

// Defined reports whether c names a block.
func (c CID) Defined() bool { return c != "" }

// Codec is the multicodec of the block that c names; 0 for the zero CID.
func (c CID) Codec() uint64 {
	if c == "" {
		return 0
	}
	return uint64(c[1]) // see cidPrefix
}

// Verify reports whether data is what c names.
func (c CID) Verify(data []byte) bool { return c != "" && NewCID(c.Codec(), data) == c }

// String is the text form in base32, or "" for the zero CID.
func (c CID) String() string {
	if c == "" {
		return ""
	}
	return c.Cid().String()
}

// cborLink begins a CID in dag-cbor: tag 42 of a byte string of 37 bytes, of
// which the first is 0.
const cborLink = "\xd8\x2a\x58\x25\x00"

// cborNull stands for the zero CID.
const cborNull = "\xf6"

// MarshalCBOR encodes c as dag-cbor does: tag 42, or null.
func (c CID) MarshalCBOR() ([]byte, error) {
	if c == "" {
		return []byte(cborNull), nil
	}
	return []byte(cborLink + string(c)), nil
}

// UnmarshalCBOR reverses MarshalCBOR. It fails with ErrCID.
func (c *CID) UnmarshalCBOR(b []byte) error {
	*c = ""
	if string(b) == cborNull {
		return nil
	}
	content, ok := bytes.CutPrefix(b, []byte(cborLink))
	if !ok {
		return fmt.Errorf("%w: no link of dag-cbor", ErrCID)
	}
	parsed, err := parseCID(content)
	*c = parsed
	return err
}

// MarshalJSON encodes c as its text.
func (c CID) MarshalJSON() ([]byte, error) { return json.Marshal(c.String()) }

// UnmarshalJSON reverses MarshalJSON; "" is the zero CID. It fails with ErrCID.
func (c *CID) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return err
	}
	if text == "" {
		*c = ""
		return nil
	}
	parsed, err := ParseCID(text)
	*c = parsed
	return err
}
