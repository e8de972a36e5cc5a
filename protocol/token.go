package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// ErrToken is returned for a token that is not one, or not a whole one.
var ErrToken = errors.New("not a valid token")

const (
	tokenPrefix   = "mesh1" // the number is the version
	tokenCheck    = 4       // bytes of hash that tell a typo
	maxTokenText  = 32 << 10
	maxTokenAddrs = 16
	maxAddrText   = 256
)

// Token admits one node to a mesh: where the mesh is, a key that may sign that
// node's certificate, and the chain that says so. Whoever has it may use it.
type Token struct {
	_     struct{} `cbor:",toarray"`
	Mesh  peer.ID
	Addrs []string // of the inviter, each ending in /p2p/ID
	Seed  []byte   // of the one-time Ed25519 key
	Chain Chain    // ends in the invitation of that key
}

// NewToken invites one node on behalf of admin, whose chain is given.
func NewToken(chain *Chain, admin crypto.PrivKey, addrs, roles []string, now, until time.Time) (*Token, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	oneTime, err := oneTimeID(public)
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	invited, err := chain.Invite(admin, oneTime, roles, now, until)
	if err != nil {
		return nil, err
	}
	mesh, err := invited.Mesh()
	if err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	if len(addrs) > maxTokenAddrs {
		addrs = addrs[:maxTokenAddrs]
	}
	return &Token{Mesh: mesh, Addrs: addrs, Seed: private.Seed(), Chain: *invited}, nil
}

// String is the token as one word.
func (t *Token) String() string {
	b := Encode(t)
	sum := sha256.Sum256(b)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(append(b, sum[:tokenCheck]...))
}

// ParseToken reverses String. It fails with ErrToken for anything that is not
// a whole token; whether it is still in date is for Redeem to say.
func ParseToken(s string) (*Token, error) {
	s = strings.TrimSpace(s)
	body, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return nil, fmt.Errorf("%w: it must begin with %q; copy the whole last line that the invite printed", ErrToken, tokenPrefix)
	}
	if len(body) > maxTokenText {
		return nil, fmt.Errorf("%w: %d characters are too many", ErrToken, len(body))
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(body)
	// The decoder skips line ends; a token has none.
	if err != nil || strings.ContainsAny(body, "\r\n") || len(b) < tokenCheck {
		return nil, fmt.Errorf("%w: it is cut short or altered; copy it again", ErrToken)
	}
	b, check := b[:len(b)-tokenCheck], b[len(b)-tokenCheck:]
	if sum := sha256.Sum256(b); !bytes.Equal(sum[:tokenCheck], check) {
		return nil, fmt.Errorf("%w: it is cut short or altered; copy it again", ErrToken)
	}
	var t Token
	if err := Decode(b, &t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return &t, t.check(b)
}

// check bounds a token and checks that its parts belong together.
func (t *Token) check(b []byte) error {
	if len(t.Seed) != ed25519.SeedSize || len(t.Addrs) > maxTokenAddrs || !plainID(t.Mesh) || !bytes.Equal(Encode(t), b) {
		return fmt.Errorf("%w: its parts are malformed", ErrToken)
	}
	for _, a := range t.Addrs {
		if len(a) > maxAddrText {
			return fmt.Errorf("%w: an address of %d characters", ErrToken, len(a))
		}
	}
	certs, err := t.Chain.certs()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrToken, err)
	}
	last := certs[len(certs)-1]
	key, err := t.key()
	if err != nil || !last.Invite || last.Subject != key || last.Mesh != t.Mesh {
		return fmt.Errorf("%w: its parts do not belong together", ErrToken)
	}
	return nil
}

// Redeem makes the chain that proves that member was invited. It fails with
// ErrExpired when the token may no longer be used, and with ErrToken when it
// was never good.
func (t *Token) Redeem(member peer.ID, now time.Time) (*Chain, error) {
	if _, err := t.Chain.verify(t.Mesh, now); err != nil {
		if errors.Is(err, ErrExpired) {
			return nil, fmt.Errorf("this token is %w; ask for a new one (meshnode invite)", err)
		}
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(t.Seed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	chain, err := t.Chain.Accept(key, member, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return chain, nil
}

// Until is when the token ends.
func (t *Token) Until() time.Time { return t.Chain.Until() }

func (t *Token) key() (peer.ID, error) {
	public := ed25519.NewKeyFromSeed(t.Seed).Public().(ed25519.PublicKey)
	return oneTimeID(public)
}

func oneTimeID(public ed25519.PublicKey) (peer.ID, error) {
	key, err := crypto.UnmarshalEd25519PublicKey(public)
	if err != nil {
		return "", err
	}
	return peer.IDFromPublicKey(key)
}
