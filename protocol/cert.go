package protocol

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Why somebody is not let into a mesh. They wrap each other's causes, so that
// the text says which certificate is meant.
var (
	// ErrNotMember: no valid chain of certificates leads to this peer.
	ErrNotMember = errors.New("not a member of this mesh")
	// ErrExpired: a certificate or invitation is out of date.
	ErrExpired = errors.New("out of date")
	// ErrWrongMesh: the certificate belongs to another mesh.
	ErrWrongMesh = errors.New("belongs to another mesh")
)

// What a member may do.
const (
	RoleSubmit = "submit" // jobs
	RoleWork   = "work"   // run tasks
	RoleStore  = "store"  // keep blocks
	RoleAdmin  = "admin"  // invite others, cancel anybody's jobs
)

// AllRoles are the roles that there are, sorted.
func AllRoles() []string { return []string{RoleAdmin, RoleStore, RoleSubmit, RoleWork} }

const (
	// MaxChain bounds the certificates of a chain. An invitation costs two, so
	// a mesh may grow by eight generations of invitations.
	MaxChain = 16
	// MaxChainBytes bounds an encoded chain: a certificate has some 250 bytes.
	MaxChainBytes = 16 << 10
	// MemberValidity is how long a member's certificate is good for: longer
	// than machines last, so that no mesh stops because nobody renewed it.
	MemberValidity = 5 * 365 * 24 * time.Hour
	// MaxInviteValidity bounds how long a token may be used: it is a secret
	// that travels through mail and chat.
	MaxInviteValidity = 90 * 24 * time.Hour
	// ClockSkew is how far ahead the clock of a certificate's issuer may be.
	ClockSkew = 10 * time.Minute

	maxPeerID   = 64 // an Ed25519 peer ID has 38 bytes
	maxCertBody = 1 << 10
	domainCert  = "meshnode certificate 1\n"
)

// Cert is what one link of a Chain says: its subject is a member, or, for an
// invitation, a one-time key that may name one member.
type Cert struct {
	_         struct{} `cbor:",toarray"`
	Mesh      peer.ID
	Subject   peer.ID
	Invite    bool
	Roles     []string // sorted
	NotBefore int64    // seconds since 1970
	NotAfter  int64    // of an invitation: until when it may name a member
	Serial    uint64
	Issuer    peer.ID
}

// Chain proves that a peer is a member: each certificate is signed by the
// subject of the one before it, and the first one by the mesh's key.
//
// Whoever holds an unused one-time key dates the certificate that it signs, so
// the end of an invitation binds only those whose clock is honest: a token is
// a secret even after its end.
type Chain struct {
	_     struct{} `cbor:",toarray"`
	Links []Signed
}

// Found returns the chain of a mesh's first member, which has every role.
func Found(mesh crypto.PrivKey, member peer.ID, now time.Time) (*Chain, error) {
	id, err := peer.IDFromPrivateKey(mesh)
	if err != nil {
		return nil, fmt.Errorf("founding a mesh: %w", err)
	}
	return (&Chain{}).extend(mesh, Cert{
		Mesh: id, Subject: member, Roles: AllRoles(),
		NotBefore: now.Unix(), NotAfter: now.Add(MemberValidity).Unix(),
	})
}

// Invite extends the chain of an admin by an invitation: whoever holds the key
// of oneTime may name one member with these roles until then. It fails with
// ErrNotMember when admin may not invite or does not have the roles.
func (c *Chain) Invite(admin crypto.PrivKey, oneTime peer.ID, roles []string, now, until time.Time) (*Chain, error) {
	self, err := peer.IDFromPrivateKey(admin)
	if err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	mesh, err := c.Mesh()
	if err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	have, err := c.Verify(mesh, self, now)
	if err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	if !slices.Contains(have, RoleAdmin) {
		return nil, fmt.Errorf("inviting: %w: this node lacks the role %q; ask a node that has it for a token", ErrNotMember, RoleAdmin)
	}
	if len(c.Links)+2 > MaxChain {
		return nil, fmt.Errorf("inviting: this node is %d invitations away from the founder, which is the limit; ask a node nearer to it", len(c.Links)/2)
	}
	if until.Sub(now) > MaxInviteValidity || !until.After(now) {
		return nil, fmt.Errorf("inviting: a token is good for at most %d days and more than none", MaxInviteValidity/(24*time.Hour))
	}
	return c.extend(admin, Cert{
		Mesh: mesh, Subject: oneTime, Invite: true, Roles: sortedRoles(roles),
		NotBefore: now.Unix(), NotAfter: until.Unix(),
	})
}

// Accept extends a chain that ends in an invitation by the certificate of
// member, signed with the invitation's key.
func (c *Chain) Accept(oneTime crypto.PrivKey, member peer.ID, now time.Time) (*Chain, error) {
	certs, err := c.certs()
	if err != nil {
		return nil, err
	}
	invite := certs[len(certs)-1]
	return c.extend(oneTime, Cert{
		Mesh: invite.Mesh, Subject: member, Roles: invite.Roles,
		NotBefore: now.Unix(), NotAfter: now.Add(MemberValidity).Unix(),
	})
}

// extend signs cert with key and returns the chain with it at its end.
func (c *Chain) extend(key crypto.PrivKey, cert Cert) (*Chain, error) {
	issuer, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	var serial [8]byte
	if _, err := rand.Read(serial[:]); err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	cert.Issuer, cert.Serial = issuer, binary.BigEndian.Uint64(serial[:])
	if err := cert.check(); err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	link, err := sign(domainCert, Encode(cert), key)
	if err != nil {
		return nil, err
	}
	return &Chain{Links: append(slices.Clone(c.Links), link)}, nil
}

// Verify checks that the chain makes subject a member of mesh at the time now
// and returns its roles, sorted. It fails with ErrNotMember, ErrExpired or
// ErrWrongMesh.
func (c *Chain) Verify(mesh, subject peer.ID, now time.Time) ([]string, error) {
	cert, err := c.verify(mesh, now)
	if err != nil {
		return nil, err
	}
	if cert.Invite || cert.Subject != subject {
		return nil, fmt.Errorf("%w: the certificate was given to another key", ErrNotMember)
	}
	return slices.Clone(cert.Roles), nil
}

// verify checks every link and returns the last certificate.
func (c *Chain) verify(mesh peer.ID, now time.Time) (*Cert, error) {
	certs, err := c.certs()
	if err != nil {
		return nil, err
	}
	above := &Cert{Subject: mesh, Roles: AllRoles()}
	for i := range certs {
		cert := &certs[i]
		if cert.Mesh != mesh {
			return nil, fmt.Errorf("%w: %s", ErrWrongMesh, cert.Mesh)
		}
		if err := cert.follows(above, i == 0); err != nil {
			return nil, err
		}
		if err := verify(domainCert, c.Links[i], above.Subject); err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrNotMember, i, err)
		}
		if err := cert.inDate(now, i == len(certs)-1); err != nil {
			return nil, err
		}
		above = cert
	}
	return above, nil
}

// follows checks that the certificate above may give this one.
func (c *Cert) follows(above *Cert, first bool) error {
	switch {
	case c.Issuer != above.Subject:
		return fmt.Errorf("%w: the chain is broken", ErrNotMember)
	case above.Invite && c.Invite:
		return fmt.Errorf("%w: an invitation names a member and nothing else", ErrNotMember)
	case !above.Invite && !first && !slices.Contains(above.Roles, RoleAdmin):
		return fmt.Errorf("%w: its issuer is no admin", ErrNotMember)
	case above.Invite && c.NotBefore > above.NotAfter:
		return fmt.Errorf("%w: the invitation ended at %s", ErrExpired, date(above.NotAfter))
	case above.Invite && c.NotBefore < above.NotBefore-int64(ClockSkew/time.Second):
		return fmt.Errorf("%w: it is older than its invitation; check the clocks", ErrExpired)
	}
	for _, r := range c.Roles {
		if !slices.Contains(above.Roles, r) {
			return fmt.Errorf("%w: its issuer may not give the role %q", ErrNotMember, r)
		}
	}
	return nil
}

// inDate checks the certificate's dates. An invitation that was used needs no
// longer be in date: the certificate made with it lives on.
func (c *Cert) inDate(now time.Time, last bool) error {
	if now.Add(ClockSkew).Unix() < c.NotBefore {
		return fmt.Errorf("%w: begins only at %s; check this machine's clock", ErrExpired, date(c.NotBefore))
	}
	if (!c.Invite || last) && now.Unix() > c.NotAfter {
		return fmt.Errorf("%w: ended at %s", ErrExpired, date(c.NotAfter))
	}
	return nil
}

func date(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// check bounds a certificate.
func (c *Cert) check() error {
	longest := MemberValidity
	if c.Invite {
		longest = MaxInviteValidity
	}
	switch {
	case !plainID(c.Mesh) || !plainID(c.Subject) || !plainID(c.Issuer):
		return fmt.Errorf("%w: a malformed peer ID", ErrNotMember)
	case len(c.Roles) == 0 || !slices.Equal(c.Roles, sortedRoles(c.Roles)):
		return fmt.Errorf("%w: the roles %q", ErrNotMember, c.Roles)
	case c.NotBefore < 0 || c.NotAfter <= c.NotBefore || c.NotAfter-c.NotBefore > int64(longest/time.Second):
		return fmt.Errorf("%w: its dates are out of order or too far apart", ErrNotMember)
	}
	for _, r := range c.Roles {
		if !slices.Contains(AllRoles(), r) {
			return fmt.Errorf("%w: there is no role %q; the roles are %s", ErrNotMember, r, AllRoles())
		}
	}
	return nil
}

func plainID(p peer.ID) bool { return len(p) <= maxPeerID && p.Validate() == nil }

// sortedRoles is roles sorted, each once.
func sortedRoles(roles []string) []string {
	out := slices.Clone(roles)
	slices.Sort(out)
	return slices.Compact(out)
}

// certs decodes and bounds the chain's certificates; there is at least one.
func (c *Chain) certs() ([]Cert, error) {
	if c == nil || len(c.Links) == 0 || len(c.Links) > MaxChain {
		return nil, fmt.Errorf("%w: no chain of 1 to %d certificates", ErrNotMember, MaxChain)
	}
	out := make([]Cert, len(c.Links))
	for i, link := range c.Links {
		if len(link.Body) > maxCertBody {
			return nil, fmt.Errorf("%w: certificate %d is too long", ErrNotMember, i)
		}
		if err := Decode(link.Body, &out[i]); err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrNotMember, i, err)
		}
		if err := out[i].check(); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
	}
	return out, nil
}

// Mesh is the mesh that the chain claims to belong to.
func (c *Chain) Mesh() (peer.ID, error) {
	certs, err := c.certs()
	if err != nil {
		return "", err
	}
	return certs[0].Mesh, nil
}

// Subject is the peer, or the invitation's key, that the chain is about.
func (c *Chain) Subject() (peer.ID, error) {
	certs, err := c.certs()
	if err != nil {
		return "", err
	}
	return certs[len(certs)-1].Subject, nil
}

// OneTimeKeys are the invitations' keys that the chain rests on, each with the
// member that it named: whoever comes second with a key is refused, and so is
// everybody whom such a one invited.
func (c *Chain) OneTimeKeys() map[peer.ID]peer.ID {
	out := map[peer.ID]peer.ID{}
	certs, err := c.certs()
	if err != nil {
		return out
	}
	for i := 1; i < len(certs); i++ {
		if certs[i-1].Invite {
			out[certs[i-1].Subject] = certs[i].Subject
		}
	}
	return out
}

// Until is when the membership that the chain proves ends: when the first of
// its certificates does, used invitations apart.
func (c *Chain) Until() time.Time {
	certs, err := c.certs()
	if err != nil {
		return time.Time{}
	}
	end := certs[len(certs)-1].NotAfter
	for _, cert := range certs {
		if !cert.Invite {
			end = min(end, cert.NotAfter)
		}
	}
	return time.Unix(end, 0)
}

// Encode returns the chain as it travels.
func (c *Chain) Encode() []byte { return Encode(c) }

// DecodeChain reverses Encode. It accepts exactly what Encode gives and fails
// with ErrNotMember; the signatures are still to be verified.
func DecodeChain(b []byte) (*Chain, error) {
	var c Chain
	if len(b) > MaxChainBytes {
		return nil, fmt.Errorf("%w: a chain of %d bytes", ErrNotMember, len(b))
	}
	if err := Decode(b, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotMember, err)
	}
	if _, err := c.certs(); err != nil {
		return nil, err
	}
	if !bytes.Equal(Encode(&c), b) {
		return nil, fmt.Errorf("%w: the chain is not in its canonical form", ErrNotMember)
	}
	return &c, nil
}
