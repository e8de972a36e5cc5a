package mesh

import (
	"fmt"
	"os"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// identity is who this node is and why it may be here.
type identity struct {
	key      crypto.PrivKey
	id       peer.ID
	mesh     peer.ID
	chain    *protocol.Chain
	founder  bool
	newcomer bool            // joins for the first time: no member has let it in yet
	hints    []peer.AddrInfo // from the token
}

// loadIdentity finds out, or decides, which mesh the node of this directory
// belongs to: the one of its certificate, the token's, or one of its own.
func loadIdentity(h home, join string, now time.Time) (*identity, error) {
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return nil, fmt.Errorf("making the node's directory: %w", err)
	}
	var token *protocol.Token
	if join != "" {
		var err error
		if token, err = protocol.ParseToken(join); err != nil {
			return nil, fmt.Errorf("joining: %w", err)
		}
	}
	key, _, err := h.key(identityFile)
	if err != nil {
		return nil, err
	}
	id := &identity{key: key}
	if id.id, err = peer.IDFromPrivateKey(key); err != nil {
		return nil, fmt.Errorf("loading %s: %w", identityFile, err)
	}
	if id.chain, err = h.chain(); err != nil {
		return nil, err
	}
	switch {
	case id.chain != nil:
		err = id.resume(h, token, now)
	case token != nil:
		err = id.redeem(h, token, now)
	default:
		err = id.found(h, now)
	}
	if token != nil {
		id.hints = parseAddrs(token.Addrs)
	}
	return id, err
}

// resume checks the certificate of an earlier start.
func (id *identity) resume(h home, token *protocol.Token, now time.Time) error {
	mesh, err := id.chain.Mesh()
	if err != nil {
		return fmt.Errorf("loading %s: %w", certFile, err)
	}
	if token != nil && token.Mesh != mesh {
		return fmt.Errorf("joining: the directory %s already belongs to the mesh %s, and the token is for %s: give --dir another directory: %w", h, mesh, token.Mesh, protocol.ErrWrongMesh)
	}
	if _, err := id.chain.Verify(mesh, id.id, now); err != nil {
		return fmt.Errorf("the certificate in %s is of no use: %w; join again in a new --dir with a new token (meshnode invite)", h, err)
	}
	id.mesh = mesh
	founded, err := h.read(meshKeyFile)
	id.founder = founded != nil
	return err
}

// redeem uses a token. The certificate is kept only once a member accepted it.
func (id *identity) redeem(h home, token *protocol.Token, now time.Time) error {
	if founded, err := h.read(meshKeyFile); err != nil || founded != nil {
		if err == nil {
			err = fmt.Errorf("joining: the directory %s holds the key of a mesh of its own; give --dir another directory: %w", h, protocol.ErrWrongMesh)
		}
		return err
	}
	chain, err := token.Redeem(id.id, now)
	if err != nil {
		return fmt.Errorf("joining: %w", err)
	}
	id.mesh, id.chain, id.newcomer = token.Mesh, chain, true
	return nil
}

// found makes a mesh of which this node is the first member.
func (id *identity) found(h home, now time.Time) error {
	key, _, err := h.key(meshKeyFile)
	if err != nil {
		return err
	}
	if id.mesh, err = peer.IDFromPrivateKey(key); err != nil {
		return fmt.Errorf("loading %s: %w", meshKeyFile, err)
	}
	if id.chain, err = protocol.Found(key, id.id, now); err != nil {
		return err
	}
	id.founder = true
	return h.write(certFile, id.chain.Encode(), true)
}

// parseAddrs reads addresses that end in /p2p/ID and leaves out what is none.
func parseAddrs(texts []string) []peer.AddrInfo {
	var out []peer.AddrInfo
	for _, text := range texts {
		if info, err := peer.AddrInfoFromString(text); err == nil {
			out = append(out, *info)
		}
	}
	return out
}
