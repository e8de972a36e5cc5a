package mesh

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	tptu "github.com/libp2p/go-libp2p/p2p/net/upgrader"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"github.com/meshnode/meshnode/protocol"
)

// RefusedError says that a member did not let this node in, and why. It wraps
// ErrSpent, ErrFull, protocol.ErrExpired, protocol.ErrWrongMesh or
// protocol.ErrNotMember.
type RefusedError struct {
	By     peer.ID
	Reason error  // one of the above
	Text   string // in the other's words
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("refused by %s: %s", e.By, e.Text)
}

func (e *RefusedError) Unwrap() error { return e.Reason }

const (
	// admissionTime bounds the exchange: three messages, two signatures each.
	admissionTime = 10 * time.Second
	// maxAdmission bounds one message of it.
	maxAdmission = protocol.MaxChainBytes + 1<<10
	// maxReason bounds what a refusal says.
	maxReason = 512
)

// hello is what each side shows: the dialer first, so that a stranger who
// dials learns nothing but why it is refused.
type hello struct {
	_     struct{} `cbor:",toarray"`
	Mesh  peer.ID
	Chain []byte
}

// verdict is what each side answers. An empty code lets the other in.
type verdict struct {
	_    struct{} `cbor:",toarray"`
	Code string
	Text string
}

type reply struct {
	_       struct{} `cbor:",toarray"`
	Verdict verdict
	Hello   *hello // none in a refusal
}

// gate decides who is let in.
type gate struct {
	self      hello
	admit     func(p peer.ID, chain []byte) error
	connected func(p peer.ID) bool
}

// errConnected ends a dial that was overtaken by the other side's: two dials
// at once would leave two connections, for good. Only the dialer may end one,
// since a listener cannot tell a second connection from a restarted peer's
// first.
var errConnected = errors.New("connected meanwhile")

// admission is the TLS transport with an exchange of certificate chains right
// after its handshake, inside the secured connection. No muxer runs before it,
// so strangers open no stream; TLS's early choice of the muxer is kept.
type admission struct {
	*libp2ptls.Transport
	gate *gate
}

// newAdmission returns the constructor that libp2p asks for.
func newAdmission(g *gate) func(libp2pproto.ID, crypto.PrivKey, []tptu.StreamMuxer) (*admission, error) {
	return func(id libp2pproto.ID, key crypto.PrivKey, muxers []tptu.StreamMuxer) (*admission, error) {
		t, err := libp2ptls.New(id, key, muxers)
		if err != nil {
			return nil, err
		}
		return &admission{Transport: t, gate: g}, nil
	}
}

func (a *admission) SecureInbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	conn, err := a.Transport.SecureInbound(ctx, insecure, p)
	if err != nil {
		return nil, err
	}
	return a.exchange(ctx, conn, a.gate.receive)
}

func (a *admission) SecureOutbound(ctx context.Context, insecure net.Conn, p peer.ID) (sec.SecureConn, error) {
	conn, err := a.Transport.SecureOutbound(ctx, insecure, p)
	if err != nil {
		return nil, err
	}
	return a.exchange(ctx, conn, a.gate.present)
}

// exchange runs one side of the admission within its time.
func (a *admission) exchange(ctx context.Context, conn sec.SecureConn, side func(net.Conn, peer.ID) error) (sec.SecureConn, error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	err := conn.SetDeadline(time.Now().Add(admissionTime))
	if err == nil {
		err = side(conn, conn.RemotePeer())
	}
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// present is the dialer's side.
func (g *gate) present(conn net.Conn, p peer.ID) error {
	if g.connected(p) {
		return errConnected
	}
	if err := writeAdmission(conn, g.self); err != nil {
		return err
	}
	var r reply
	if err := readAdmission(conn, &r); err != nil {
		return err
	}
	if err := r.Verdict.err(p); err != nil {
		return err
	}
	err := g.judge(p, r.Hello)
	if err == nil && g.connected(p) {
		return errConnected
	}
	if werr := writeAdmission(conn, verdictOf(err)); err == nil {
		err = werr
	}
	return err
}

// receive is the listener's side.
func (g *gate) receive(conn net.Conn, p peer.ID) error {
	var h hello
	if err := readAdmission(conn, &h); err != nil {
		return err
	}
	if err := g.judge(p, &h); err != nil {
		return errors.Join(err, writeAdmission(conn, reply{Verdict: verdictOf(err)}))
	}
	if err := writeAdmission(conn, reply{Hello: &g.self}); err != nil {
		return err
	}
	var v verdict
	if err := readAdmission(conn, &v); err != nil {
		return err
	}
	return v.err(p)
}

func (g *gate) judge(p peer.ID, h *hello) error {
	if h == nil {
		return fmt.Errorf("%w: no certificate was shown", protocol.ErrNotMember)
	}
	if h.Mesh != g.self.Mesh {
		return fmt.Errorf("%w: this one is %s", protocol.ErrWrongMesh, g.self.Mesh)
	}
	return g.admit(p, h.Chain)
}

// reasons are the codes of refusals on the wire.
func reasons() map[string]error {
	return map[string]error{
		"spent":    ErrSpent,
		"full":     ErrFull,
		"expired":  protocol.ErrExpired,
		"mesh":     protocol.ErrWrongMesh,
		"stranger": protocol.ErrNotMember,
	}
}

func verdictOf(err error) verdict {
	if err == nil {
		return verdict{}
	}
	for code, reason := range reasons() {
		if errors.Is(err, reason) {
			return verdict{Code: code, Text: cut(err.Error(), maxReason)}
		}
	}
	return verdict{Code: "stranger", Text: cut(err.Error(), maxReason)}
}

// err is the verdict as the refused side sees it.
func (v verdict) err(by peer.ID) error {
	if v.Code == "" {
		return nil
	}
	reason, ok := reasons()[v.Code]
	if !ok {
		reason = protocol.ErrNotMember
	}
	return &RefusedError{By: by, Reason: reason, Text: cut(v.Text, maxReason)}
}

// Messages of the admission stand behind their length in four bytes. They are
// read without a buffer: what follows them belongs to the muxer.
func writeAdmission(w io.Writer, v any) error {
	b := protocol.Encode(v)
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		return fmt.Errorf("showing the certificate: %w", err)
	}
	return nil
}

func readAdmission(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("%w: no certificate was shown: %w", protocol.ErrNotMember, err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxAdmission {
		return fmt.Errorf("%w: it does not speak meshnode", protocol.ErrNotMember)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return fmt.Errorf("%w: no certificate was shown: %w", protocol.ErrNotMember, err)
	}
	if err := protocol.Decode(b, v); err != nil {
		return fmt.Errorf("%w: %w", protocol.ErrNotMember, err)
	}
	return nil
}
