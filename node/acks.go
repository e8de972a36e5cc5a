package node

import (
	"cmp"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
)

// acks gathers what this node has to acknowledge, so that many small messages
// cost one. The loop owns it.
type acks struct {
	owed map[debt]*protocol.Ack
	sent time.Time // when they were last sent
}

type debt struct {
	to  peer.ID
	job protocol.CID
}

// owe notes that a message has been taken. What cannot wait, or no longer fits,
// is returned to be sent now.
func (a *acks) owe(to peer.ID, job protocol.CID, number uint64, wait bool) *protocol.Ack {
	if a.owed == nil {
		a.owed = map[debt]*protocol.Ack{}
	}
	d := debt{to, job}
	ack := a.owed[d]
	if ack == nil {
		ack = &protocol.Ack{Job: job}
		a.owed[d] = ack
	}
	ack.Numbers = append(ack.Numbers, number)
	if wait && len(ack.Numbers) < protocol.MaxAcks {
		return nil
	}
	delete(a.owed, d)
	return ack
}

// acknowledge sends what is owed, when it is time.
func (l *loop) acknowledge(now time.Time) {
	if len(l.acks.owed) == 0 || now.Sub(l.acks.sent) < protocol.AckEvery {
		return
	}
	l.acks.sent = now
	debts := make([]debt, 0, len(l.acks.owed))
	for d := range l.acks.owed {
		debts = append(debts, d)
	}
	slices.SortFunc(debts, func(a, b debt) int { return cmp.Or(cmp.Compare(a.to, b.to), cmp.Compare(a.job, b.job)) })
	for _, d := range debts {
		l.send(d.to, l.acks.owed[d])
	}
	clear(l.acks.owed)
}
