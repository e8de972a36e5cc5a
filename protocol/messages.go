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
	Inputs      []Sized       `cbor:"5,keyasint"` // some of what they read, most telling first
	Estimate    time.Duration `cbor:"6,keyasint"` // of one task; 0 when unknown
	Turn        Turn          `cbor:"7,keyasint"`
}

// Turn is what decides when a task's turn comes among those that wait on one
// node.
type Turn struct {
	Submitter peer.ID       `cbor:"1,keyasint,omitempty"`
	Queue     Queue         `cbor:"2,keyasint"`
	Priority  int           `cbor:"3,keyasint"`
	Estimate  time.Duration `cbor:"4,keyasint"` // of one task; 0 when unknown
	Cores     int           `cbor:"5,keyasint"` // slots that one task takes; 0 is one
	Memory    int64         `cbor:"6,keyasint"` // bytes that one task is promised; 0 is none
}

// Sized names a block and says how many bytes of content are behind it.
type Sized struct {
	_    struct{} `cbor:",toarray"`
	CID  CID
	Size int64
}

// Needs is what a node must have to run a task; or what a node has.
type Needs struct {
	Kinds  []ProgramKind `cbor:"1,keyasint"`
	Funcs  []string      `cbor:"2,keyasint"`
	Cores  int           `cbor:"3,keyasint,omitempty"`
	Memory int64         `cbor:"4,keyasint,omitempty"` // bytes
	Labels []string      `cbor:"5,keyasint,omitempty"` // NAME or NAME=VALUE
}

// Bid answers an offer: either how many tasks the bidder takes, or why none.
// It is a reservation that the bidder counts as load until it expires.
type Bid struct {
	Job         CID           `cbor:"1,keyasint"`
	Reservation uint64        `cbor:"2,keyasint"`
	Tasks       int           `cbor:"3,keyasint"` // how many it would take
	Start       time.Duration `cbor:"4,keyasint"` // until the first would begin
	Missing     int64         `cbor:"5,keyasint"` // bytes of the named inputs that it lacks
	Refusal     string        `cbor:"6,keyasint"` // why it takes none
	Free        Needs         `cbor:"7,keyasint"` // cores and memory that nothing uses now
}

// Award gives tasks to a bidder; without tasks it frees the reservation.
type Award struct {
	Job         CID       `cbor:"1,keyasint"`
	Reservation uint64    `cbor:"2,keyasint"`
	Tasks       []Awarded `cbor:"3,keyasint"`
	Turn        Turn      `cbor:"4,keyasint"`
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
	// Stewards are the shards that the sender looks after together with the
	// receiver: of others it may know nothing, though it ranks among their
	// stewards.
	Stewards []ShardRef `cbor:"3,keyasint"`
	// Progress tells a job shard's stewards how far the sender's other shards
	// of the job are.
	Progress []Progress `cbor:"4,keyasint,omitempty"`
	// Clock is the sender's time: whose own is far off goes by its peers'.
	Clock time.Time `cbor:"5,keyasint"`
}

// ShardRef names a shard of a job; shard 0 is the job shard.
type ShardRef struct {
	_     struct{} `cbor:",toarray"`
	Job   CID
	Shard int
}

// Progress is how far a shard is, for people: nothing is decided by it.
type Progress struct {
	Job        CID    `cbor:"1,keyasint"`
	Shard      int    `cbor:"2,keyasint"`
	Done       int    `cbor:"3,keyasint"`
	Running    int    `cbor:"4,keyasint"`
	Queued     int    `cbor:"5,keyasint"`
	Executions int    `cbor:"6,keyasint"`
	Waiting    string `cbor:"7,keyasint"`
}

// Claim lists the tasks of a job that the pinging worker holds: those it runs
// first, then those it queues.
type Claim struct {
	Job     CID   `cbor:"1,keyasint"`
	Tasks   []Key `cbor:"2,keyasint"`
	Running int   `cbor:"3,keyasint"` // how many of Tasks, from the first, run now
}

// Done brings receipts and failed runs to a steward. Its receiver answers with
// an Ack of the same number once they are in its ledger on disk, soon or with
// others.
type Done struct {
	Job      CID             `cbor:"1,keyasint"`
	Number   uint64          `cbor:"2,keyasint"`
	Receipts []SignedReceipt `cbor:"3,keyasint"`
	Facts    []Signed        `cbor:"4,keyasint"`
	Shard    int             `cbor:"5,keyasint"` // for whose stewards it is
}

// Ack acknowledges what a peer has sent by Done.
type Ack struct {
	Job     CID      `cbor:"1,keyasint"`
	Numbers []uint64 `cbor:"2,keyasint"`
}

// Announce tells a steward what its sender has of a shard, by stage one bit a
// task of the shard, so that the receiver can wake, ask for what it lacks, and
// give what the sender lacks.
type Announce struct {
	Job   CID      `cbor:"1,keyasint"`
	Have  [][]byte `cbor:"2,keyasint"`
	Facts []Digest `cbor:"3,keyasint"` // of the facts' signed bytes
	Reply bool     `cbor:"4,keyasint"` // the receiver shall answer with its own
	Shard int      `cbor:"5,keyasint"`
	// Want asks for the receipts that the sender lacks: it keeps the shard's
	// ledger. Others are told of facts alone, as that the job has ended.
	Want bool `cbor:"6,keyasint,omitempty"`
}

// Steal asks a node for half of the tasks that wait there. A lifeline stays
// registered for a while: it is sent tasks when there are more than the
// receiver can begin.
type Steal struct {
	Number   uint64 `cbor:"1,keyasint"` // drawn by the thief
	Slots    int    `cbor:"2,keyasint"` // free at the thief
	Has      Needs  `cbor:"3,keyasint"` // what the thief can run
	Lifeline bool   `cbor:"4,keyasint"`
}

// Loot hands tasks of one job to a thief; without any there is nothing to
// steal. A thief is sent one for each stage of a job, of which the last has Last.
type Loot struct {
	Number uint64    `cbor:"1,keyasint"`
	Job    CID       `cbor:"2,keyasint"` // the zero CID when there are no tasks
	Tasks  []Awarded `cbor:"3,keyasint"`
	Turn   Turn      `cbor:"4,keyasint"`
	Last   bool      `cbor:"5,keyasint"`
}

// Stolen tells a steward that its sender now holds tasks that From held.
type Stolen struct {
	Job   CID     `cbor:"1,keyasint"`
	From  peer.ID `cbor:"2,keyasint,omitempty"`
	Tasks []Key   `cbor:"3,keyasint"`
}

// Release tells a worker that tasks which it holds are done elsewhere.
type Release struct {
	Job   CID   `cbor:"1,keyasint"`
	Tasks []Key `cbor:"2,keyasint"`
}

// Lost tells a shard's stewards that nobody holds the results of these tasks,
// and that another shard reads them.
type Lost struct {
	Job   CID   `cbor:"1,keyasint"`
	Tasks []Key `cbor:"2,keyasint"`
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
func (*Steal) kind() byte    { return 8 }
func (*Loot) kind() byte     { return 9 }
func (*Stolen) kind() byte   { return 10 }
func (*Release) kind() byte  { return 11 }
func (*Lost) kind() byte     { return 12 }

// MessageName names the kind of an encoded message for people, by its first
// byte; "" for a kind that is not known.
func MessageName(kind byte) string {
	names := [...]string{
		1: "offer", 2: "bid", 3: "award", 4: "ping", 5: "done", 6: "ack", 7: "announce", 8: "steal", 9: "loot", 10: "stolen", 11: "release", 12: "lost",
	}
	if int(kind) < len(names) {
		return names[kind]
	}
	return ""
}

// EncodeMessage returns m behind one byte that says what it is.
func EncodeMessage(m Message) []byte { return append([]byte{m.kind()}, Encode(m)...) }

// DecodeMessage reverses EncodeMessage and checks the message's bounds. It
// does not check signatures: what is signed has a type of its own.
func DecodeMessage(b []byte) (Message, error) {
	if len(b) == 0 {
		return nil, errors.New("decoding a message: it is empty")
	}
	var m Message
	for _, known := range []Message{&Offer{}, &Bid{}, &Award{}, &Ping{}, &Done{}, &Ack{}, &Announce{}, &Steal{}, &Loot{}, &Stolen{}, &Release{}, &Lost{}} {
		if known.kind() == b[0] {
			m = known
		}
	}
	if m == nil {
		return nil, fmt.Errorf("decoding a message: unknown kind %d", b[0])
	}
	if err := decodeMessage(b[1:], m); err != nil {
		return nil, err
	}
	if !m.bounded() {
		return nil, fmt.Errorf("decoding a %T: %w", m, ErrBounds)
	}
	return m, nil
}
