package protocol

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

type party struct {
	key crypto.PrivKey
	id  peer.ID
}

func newParty(t testing.TB) party {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return party{key, id}
}

func founded(t testing.TB, now time.Time) (mesh, founder party, chain *Chain) {
	t.Helper()
	mesh, founder = newParty(t), newParty(t)
	chain, err := Found(mesh.key, founder.id, now)
	if err != nil {
		t.Fatal(err)
	}
	return mesh, founder, chain
}

// invited is the chain of a party that the one with chain c invited.
func invited(t testing.TB, c *Chain, admin, to party, roles []string, now time.Time) *Chain {
	t.Helper()
	token, err := NewToken(c, admin.key, nil, roles, now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	chain, err := token.Redeem(to.id, now)
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func TestChainOfInvitations(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, chain := founded(t, now)
	if roles, err := chain.Verify(mesh.id, founder.id, now); err != nil || !slices.Equal(roles, AllRoles()) {
		t.Fatalf("founder: %v, %v", roles, err)
	}
	admin, worker := newParty(t), newParty(t)
	second := invited(t, chain, founder, admin, AllRoles(), now)
	third := invited(t, second, admin, worker, []string{RoleWork, RoleStore}, now)
	roles, err := third.Verify(mesh.id, worker.id, now.Add(365*24*time.Hour))
	if err != nil || !slices.Equal(roles, []string{RoleStore, RoleWork}) {
		t.Fatalf("worker: %v, %v", roles, err)
	}
	if n := len(third.OneTimeKeys()); n != 2 {
		t.Errorf("%d one-time keys after two invitations", n)
	}
	if n := len(chain.OneTimeKeys()); n != 0 {
		t.Errorf("%d one-time keys in the founder's chain", n)
	}
	again, err := DecodeChain(third.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Verify(mesh.id, worker.id, now); err != nil {
		t.Error(err)
	}
}

func TestChainRefusals(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, chain := founded(t, now)
	worker, other := newParty(t), newParty(t)
	member := invited(t, chain, founder, worker, []string{RoleWork}, now)
	otherMesh, _, _ := founded(t, now)
	noAdmin, err := member.extend(worker.key, Cert{Mesh: mesh.id, Subject: other.id, Roles: []string{RoleWork}, NotBefore: now.Unix(), NotAfter: now.Unix() + 9})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		chain   *Chain
		mesh    peer.ID
		subject peer.ID
		at      time.Time
		want    error
	}{
		{"empty", &Chain{}, mesh.id, worker.id, now, ErrNotMember},
		{"nil", nil, mesh.id, worker.id, now, ErrNotMember},
		{"another peer", member, mesh.id, other.id, now, ErrNotMember},
		{"another mesh", member, otherMesh.id, worker.id, now, ErrWrongMesh},
		{"after its end", member, mesh.id, worker.id, now.Add(MemberValidity + time.Hour), ErrExpired},
		{"before its beginning", member, mesh.id, worker.id, now.Add(-time.Hour), ErrExpired},
		{"issued by no admin", noAdmin, mesh.id, other.id, now, ErrNotMember},
		{"root left out", &Chain{Links: member.Links[1:]}, mesh.id, worker.id, now, ErrNotMember},
		{"the invitation alone", &Chain{Links: member.Links[:2]}, mesh.id, worker.id, now, ErrNotMember},
		{"too long", &Chain{Links: slices.Repeat(member.Links, 6)}, mesh.id, worker.id, now, ErrNotMember},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.chain.Verify(tt.mesh, tt.subject, tt.at); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestInvitationEnds(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, chain := founded(t, now)
	token, err := NewToken(chain, founder.key, nil, AllRoles(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	late, joiner := now.Add(2*time.Hour), newParty(t)
	if _, err := token.Redeem(joiner.id, late); !errors.Is(err, ErrExpired) {
		t.Errorf("redeemed late: %v", err)
	}
	key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(token.Seed))
	if err != nil {
		t.Fatal(err)
	}
	forced, err := token.Chain.Accept(key, joiner.id, late)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := forced.Verify(mesh.id, joiner.id, late); !errors.Is(err, ErrExpired) {
		t.Errorf("accepted late: %v", err)
	}
}

func TestTokenText(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	_, founder, chain := founded(t, now)
	addrs := []string{"/ip4/127.0.0.1/tcp/4001/p2p/" + founder.id.String()}
	token, err := NewToken(chain, founder.key, addrs, AllRoles(), now, now.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	text := token.String()
	if strings.ContainsAny(text, " \n\t") || !strings.HasPrefix(text, "mesh1") {
		t.Errorf("token %q", text)
	}
	back, err := ParseToken(" " + text + "\n")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.Addrs, addrs) || !back.Until().Equal(now.Add(time.Hour)) {
		t.Errorf("got %v until %v", back.Addrs, back.Until())
	}
	for i := range text {
		altered := text[:i] + string(text[i]^1) + text[i+1:]
		if _, err := ParseToken(altered); !errors.Is(err, ErrToken) {
			t.Fatalf("character %d altered: %v", i, err)
		}
		if _, err := ParseToken(text[:i]); !errors.Is(err, ErrToken) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

func TestAlteredChainIsRefused(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, chain := founded(t, now)
	worker := newParty(t)
	whole := invited(t, chain, founder, worker, []string{RoleWork}, now).Encode()
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.IntRange(0, len(whole)-1).Draw(t, "at")
		altered := bytes.Clone(whole)
		altered[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		c, err := DecodeChain(altered)
		if err == nil {
			_, err = c.Verify(mesh.id, worker.id, now)
		}
		if err == nil {
			t.Fatalf("byte %d altered and nobody noticed", at)
		}
	})
}

func TestRolesNeverWiden(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, root := founded(t, now)
	members := []party{newParty(t), newParty(t), newParty(t), newParty(t)}
	rapid.Check(t, func(t *rapid.T) {
		chain, signer, roles := root, founder, AllRoles()
		for _, m := range members {
			give := rapid.SliceOfNDistinct(rapid.SampledFrom(AllRoles()), 1, 4, rapid.ID).Draw(t, "roles")
			// Signed without asking whether the signer may.
			next, err := chain.extend(signer.key, Cert{Mesh: mesh.id, Subject: m.id, Roles: sortedRoles(give), NotBefore: now.Unix(), NotAfter: now.Unix() + 60})
			if err != nil {
				t.Fatal(err)
			}
			may := slices.Contains(roles, RoleAdmin)
			for _, r := range give {
				may = may && slices.Contains(roles, r)
			}
			got, err := next.Verify(mesh.id, m.id, now)
			if may != (err == nil) {
				t.Fatalf("%v gave %v: %v", roles, give, err)
			}
			if err != nil {
				return
			}
			chain, signer, roles = next, m, got
		}
	})
}

func FuzzParseToken(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	_, founder, chain := founded(f, now)
	token, err := NewToken(chain, founder.key, []string{"/ip4/127.0.0.1/tcp/1"}, AllRoles(), now, now.Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token.String())
	f.Add("mesh1")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseToken(s)
		if err != nil {
			if !errors.Is(err, ErrToken) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if got.String() != strings.TrimSpace(s) {
			t.Fatal("two texts for one token")
		}
	})
}

func FuzzDecodeChain(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	mesh, founder, chain := founded(f, now)
	f.Add(chain.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeChain(b)
		if err != nil {
			return
		}
		if _, err := c.Verify(mesh.id, founder.id, now); err == nil && !bytes.Equal(b, chain.Encode()) {
			t.Fatal("a forged chain holds")
		}
	})
}
