package protocol

import (
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// The messages of JobProtocol. Each travels one way in a frame of its own and
// may be lost, repeated or late: all but Done are hints, and Done is repeated
// until it is acknowledged.

// Offer asks a node whether it would run tasks of a job, and when.
type Offer struct {
	Job         CID           `cbor:"1,keyasint"`
	Reservation uint64        `cbor:"2,keyasint"` // drawn by the steward
	Tasks       int           `cbor:"3,keyasint"` // how many there are to run
	Needs       Needs         `cbor:"4,keyasint"`
	Inputs      []CID         `cbor:"5,keyasint"` // some of what they read, most telling first
	Estimate    time.Duration `cbor:"6,keyasint"` // of one task; 0 when unknown
}

// Needs is what a node must be able to do to run a task.
type Needs struct {
	Kinds []ProgramKind `cbor:"1,keyasint"`
	Funcs []string      `cbor:"2,keyasint"`
}

// Bid answers an offer: either how many tasks the bidder takes, or why none.
// It is a reservation that the bidder counts as load until it expires.
type Bid struct {
	Job         CID           `cbor:"1,keyasint"`
	Reservation uint64        `cbor:"2,keyasint"`
	Tasks       int           `cbor:"3,keyasint"` // how many it would take
	Start       time.Duration `cbor:"4,keyasint"` // until the first would begin
	Missing     int           `cbor:"5,keyasint"` // how many of the named inputs it lacks
	Refusal     string        `cbor:"6,keyasint"` // why it takes none
}

// Award gives tasks to a bidder; without tasks it frees the reservation.
type Award struct {
	Job         CID       `cbor:"1,keyasint"`
	Reservation uint64    `cbor:"2,keyasint"`
	Tasks       []Awarded `cbor:"3,keyasint"`
}

// Awarded is one task with everything it needs to begin.
type Awarded struct {
	Task   Key     `cbor:"1,keyasint"`
	Inputs []Input `cbor:"2,keyasint"`
}

// Input is a result that a task reads and who is said to hold it.
type Input struct {
	CID     CID       `cbor:"1,keyasint"`
	Size    int64     `cbor:"2,keyasint"`
	Holders []peer.ID `cbor:"3,keyasint"`
}

// Ping says that its sender lives and which tasks it holds of the jobs that the
// receiver stewards: its claims. Partners send one every PingEvery.
type Ping struct {
	Boot   uint64  `cbor:"1,keyasint"`
	Claims []Claim `cbor:"2,keyasint"`
	// Stewards are the jobs that the sender looks after together with the
	// receiver: of others it may know nothing, though it ranks among their
	// stewards.
	Stewards []CID `cbor:"3,keyasint"`
}

// Claim lists the tasks of a job that the pinging worker holds: those it runs
// first, then those it queues.
type Claim struct {
	Job     CID   `cbor:"1,keyasint"`
	Tasks   []Key `cbor:"2,keyasint"`
	Running int   `cbor:"3,keyasint"` // how many of Tasks, from the first, run now
}

// Done brings receipts and failed runs to a steward. Its receiver answers with
// an Ack of the same number once they are in its ledger on disk.
type Done struct {
	Job      CID             `cbor:"1,keyasint"`
	Number   uint64          `cbor:"2,keyasint"`
	Receipts []SignedReceipt `cbor:"3,keyasint"`
	Facts    []Signed        `cbor:"4,keyasint"`
}

// Ack acknowledges a Done.
type Ack struct {
	Job    CID    `cbor:"1,keyasint"`
	Number uint64 `cbor:"2,keyasint"`
}

// Announce tells a steward what its sender has of a job, by stage one bit a
// task, so that the receiver can wake, ask for what it lacks, and give what
// the sender lacks.
type Announce struct {
	Job   CID      `cbor:"1,keyasint"`
	Have  [][]byte `cbor:"2,keyasint"`
	Facts []Digest `cbor:"3,keyasint"` // of the facts' signed bytes
	Reply bool     `cbor:"4,keyasint"` // the receiver shall answer with its own
}

// Message is any of the messages above.
type Message interface {
	kind() byte
	bounded() bool
}

func (*Offer) kind() byte    { return 1 }
func (*Bid) kind() byte      { return 2 }
func (*Award) kind() byte    { return 3 }
func (*Ping) kind() byte     { return 4 }
func (*Done) kind() byte     { return 5 }
func (*Ack) kind() byte      { return 6 }
func (*Announce) kind() byte { return 7 }

// EncodeMessage returns m behind one byte that says what it is.
func EncodeMessage(m Message) []byte { return append([]byte{m.kind()}, Encode(m)...) }

// DecodeMessage reverses EncodeMessage and checks the message's bounds. It
// does not check signatures: what is signed has a type of its own.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, errors.New("decoding a message: it is empty")
	}
	var m Message
	for _, known := range []Message{&Offer{}, &Bid{}, &Award{}, &Ping{}, &Done{}, &Ack{}, &Announce{}} {
		if known.kind() == b[0] {
			m = known
		}
	}
	if m == nil {
		return nil, fmt.Errorf("decoding a message: unknown kind %d", b[0])
	}
	if err := Decode(b[1:], m); err != nil {
		return nil, err
	}
	if !m.bounded() {
		return nil, fmt.Errorf("decoding a %T: %w", m, ErrBounds)
	}
	return m, nil
}
