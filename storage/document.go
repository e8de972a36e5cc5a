package storage

import (
	"context"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
)

// PutDoc stores v as a block under CodecDagCBOR.
func PutDoc(ctx context.Context, p Putter, v any) (protocol.CID, []byte, error) {
	data := protocol.Encode(v)
	if len(data) > protocol.MaxBlock {
		return "", nil, fmt.Errorf("storing a %T: %w: %d bytes", v, protocol.ErrTooLarge, len(data))
	}
	c := protocol.NewCID(protocol.CodecDagCBOR, data)
	if err := p.Put(ctx, c, data); err != nil {
		return "", nil, fmt.Errorf("storing a %T: %w", v, err)
	}
	return c, data, nil
}

// GetDoc reads into v what PutDoc stored.
func GetDoc(ctx context.Context, g Getter, c protocol.CID, v any) error {
	if c.Codec() != protocol.CodecDagCBOR {
		return fmt.Errorf("%s is not a document", describe(c))
	}
	data, err := g.Get(ctx, c)
	if err != nil {
		return err
	}
	if err := protocol.Decode(data, v); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}
