package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

const (
	// resendAfter is how long an acknowledgement may take: the receiver
	// writes to its disk before it answers.
	resendAfter = time.Second
	// maxParcels bounds what waits for acknowledgement. What does not fit is
	// still in this node's own ledger, and announcements bring it over.
	maxParcels = 8192
)

// Courier brings receipts and facts to a shard's stewards, and repeats them
// until each present steward has acknowledged them, across changes of who that
// is.
type Courier struct {
	last    uint64
	parcels []*parcel // in the order of their numbers
}

type parcel struct {
	done  *protocol.Done
	acked map[peer.ID]bool
	sent  map[peer.ID]time.Time
}

// NewCourier returns a courier with nothing to bring. It numbers what it brings
// from first on: another at each start of a node, so that an acknowledgement of
// an earlier life's message is none of this one's.
func NewCourier(first uint64) *Courier { return &Courier{last: first} }

// Post sends a message to the stewards and keeps it until they acknowledge it.
func (c *Courier) Post(now time.Time, d *protocol.Done, stewards []peer.ID) []Effect {
	c.last++
	d.Number = c.last
	p := &parcel{done: d, acked: map[peer.ID]bool{}, sent: map[peer.ID]time.Time{}}
	if len(c.parcels) < maxParcels {
		c.parcels = append(c.parcels, p)
	}
	return p.send(now, stewards)
}

func (p *parcel) send(now time.Time, to []peer.ID) []Effect {
	var out []Effect
	for _, id := range to {
		if !p.acked[id] && now.Sub(p.sent[id]) >= resendAfter {
			p.sent[id] = now
			out = append(out, Send{To: id, Message: p.done})
		}
	}
	return out
}

// Acked notes an acknowledgement.
func (c *Courier) Acked(from peer.ID, a *protocol.Ack) {
	for _, number := range a.Numbers {
		at, found := slices.BinarySearchFunc(c.parcels, number, func(p *parcel, n uint64) int { return cmp.Compare(p.done.Number, n) })
		if found && c.parcels[at].done.Job == a.Job {
			c.parcels[at].acked[from] = true
		}
	}
}

// Tick forgets what all present stewards of its shard have acknowledged, or what
// has none, and sends the rest again where that is due.
func (c *Courier) Tick(now time.Time, stewards func(job protocol.CID, shard int) []peer.ID) []Effect {
	var out []Effect
	c.parcels = slices.DeleteFunc(c.parcels, func(p *parcel) bool {
		to := stewards(p.done.Job, p.done.Shard)
		if !slices.ContainsFunc(to, func(id peer.ID) bool { return !p.acked[id] }) {
			return true
		}
		out = append(out, p.send(now, to)...)
		return false
	})
	return out
}

// Waiting is how many messages are not acknowledged by all.
func (c *Courier) Waiting() int { return len(c.parcels) }

// Mail is what has just been made here, by the shard whose stewards are to hear
// of it.
type Mail map[int]*protocol.Done

func (m Mail) to(shard int) *protocol.Done {
	if m[shard] == nil {
		m[shard] = &protocol.Done{}
	}
	return m[shard]
}

// Receipt adds a receipt of task k.
func (m Mail) Receipt(l *Layout, k protocol.Key, r protocol.SignedReceipt) {
	for _, shard := range l.Hears(k) {
		m.to(shard).Receipts = append(m.to(shard).Receipts, r)
	}
}

// Fact adds a fact: a failed run concerns its shard, everything else the job.
func (m Mail) Fact(l *Layout, open *protocol.Fact, f protocol.Signed) {
	shard := 0
	if open.Run != nil {
		shard = l.ShardOf(open.Run.Task)
	}
	m.to(shard).Facts = append(m.to(shard).Facts, f)
}

// Messages are those that bring it, in the order of the shards.
func (m Mail) Messages(job protocol.CID) []*protocol.Done {
	var out []*protocol.Done
	for _, shard := range slices.Sorted(maps.Keys(m)) {
		out = append(out, Batches(job, shard, m[shard].Receipts, m[shard].Facts)...)
	}
	return out
}
