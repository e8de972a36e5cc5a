package protocol

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
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

// NewCID returns the CID of data under codec.
func NewCID(codec uint64, data []byte) CID {
	sum := sha256.Sum256(data)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err) // the multihash code is a constant
	}
	return CID(cid.NewCidV1(codec, mh).Bytes())
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

func parseCID(b []byte) (CID, error) {
	c, err := cid.Cast(b)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrCID, err)
	}
	p := c.Prefix()
	known := p.Codec == CodecRaw || p.Codec == CodecDagPB || p.Codec == CodecDagCBOR
	if p.Version != 1 || p.MhType != multihash.SHA2_256 || p.MhLength != sha256.Size || !known {
		return "", fmt.Errorf("%w: %s", ErrCID, c)
	}
	return CID(b), nil
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
	return c.Cid().Prefix().Codec
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

// cborLink is the tag of a CID in dag-cbor; its content is 0x00 and the CID.
const cborLink = 42

// MarshalCBOR encodes c as dag-cbor does: tag 42, or null.
func (c CID) MarshalCBOR() ([]byte, error) {
	if c == "" {
		return cbor.Marshal(nil)
	}
	return cbor.Marshal(cbor.Tag{Number: cborLink, Content: append([]byte{0}, c...)})
}

// UnmarshalCBOR reverses MarshalCBOR. It fails with ErrCID.
func (c *CID) UnmarshalCBOR(b []byte) error {
	if len(b) == 1 && b[0] == 0xf6 {
		*c = ""
		return nil
	}
	var tag cbor.RawTag
	if err := cbor.Unmarshal(b, &tag); err != nil || tag.Number != cborLink {
		return ErrCID
	}
	var content []byte
	if err := cbor.Unmarshal(tag.Content, &content); err != nil || len(content) < 2 || content[0] != 0 {
		return ErrCID
	}
	parsed, err := parseCID(content[1:])
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
