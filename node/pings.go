package node

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// ping is what one partner is told, within the bounds of a ping: it would take
// one that is too large for hostile, and lose all of it.
type ping struct {
	protocol.Ping
	at     map[protocol.CID]int // of a job's claim among the Claims
	claims int                  // tasks and jobs in them
}

// claim adds a claim as far as there is room. What is left out is offered again.
func (p *ping) claim(c protocol.Claim) {
	at, known := p.at[c.Job]
	room := protocol.MaxClaims - p.claims
	if !known {
		room--
	}
	if room <= 0 || len(c.Tasks) == 0 {
		return
	}
	if len(c.Tasks) > room {
		c.Tasks, c.Running = c.Tasks[:room], min(c.Running, room)
	}
	p.claims += len(c.Tasks)
	if known {
		p.Claims[at] = scheduler.Joined(p.Claims[at], c)
		return
	}
	p.claims++
	p.at[c.Job] = len(p.Claims)
	p.Claims = append(p.Claims, c)
}

// fellow says that a shard is looked after here, if there is room.
func (p *ping) fellow(r protocol.ShardRef) bool {
	if len(p.Stewards) >= protocol.MaxInputs {
		return false
	}
	p.Stewards = append(p.Stewards, r)
	return true
}

// pings are the pings that one round sends, by peer.
type pings map[peer.ID]*ping

func (p pings) to(id peer.ID, boot uint64) *ping {
	if p[id] == nil {
		p[id] = &ping{Ping: protocol.Ping{Boot: boot, Clock: time.Now()}, at: map[protocol.CID]int{}}
	}
	return p[id]
}

// ping tells every partner that this node lives and what it holds: the stewards
// of the shards that it works for, its fellow stewards, and those of the jobs
// of which it looks after a part.
func (l *loop) ping() {
	out := pings{}
	l.pingClaims(out, l.worker.Claims(time.Now()))
	l.pingJobs(out, l.openIDs())
	for id, p := range out {
		l.send(id, &p.Ping)
	}
}

// pingClaims tells the stewards which of their tasks are here: first those that
// run, of all jobs, then those that wait.
func (l *loop) pingClaims(out pings, claims []protocol.Claim) {
	var waiting []func()
	for _, c := range claims {
		j := l.jobs[c.Job]
		if j == nil {
			continue
		}
		for shard, part := range inOrder(j.plan.Layout.Split(c)) {
			for _, id := range l.stewardsOf(c.Job, shard) {
				p := out.to(id, l.n.boot)
				p.claim(protocol.Claim{Job: c.Job, Tasks: part.Tasks[:part.Running], Running: part.Running})
				waiting = append(waiting, func() { p.claim(protocol.Claim{Job: c.Job, Tasks: part.Tasks[part.Running:]}) })
			}
		}
	}
	for _, add := range waiting {
		add()
	}
}

// pingJobs tells fellow stewards that this node looks after its shards. The next
// round begins with the first job that found no room in this one.
func (l *loop) pingJobs(out pings, ids []protocol.CID) {
	first, left := min(l.pingFrom, len(ids)), false
	l.pingFrom = 0
	for i := range ids {
		at := (first + i) % len(ids)
		if !l.pingFellows(out, ids[at], l.jobs[ids[at]]) && !left {
			l.pingFrom, left = at, true
		}
	}
}

// pingFellows reports whether all of them could be told.
func (l *loop) pingFellows(out pings, id protocol.CID, j *job) bool {
	all := true
	for shard, st := range j.each() {
		fellows := st.Stewards()
		if !slices.Contains(fellows, l.n.id) || st.Over() {
			continue
		}
		for _, f := range fellows {
			all = out.to(f, l.n.boot).fellow(protocol.ShardRef{Job: id, Shard: shard}) && all
		}
		progress, acting := st.Progress()
		if shard == 0 || !acting {
			continue
		}
		for _, of := range j.stewardsOf(0) {
			if p := out.to(of, l.n.boot); len(p.Progress) < protocol.MaxInputs {
				p.Progress = append(p.Progress, progress)
			}
		}
	}
	return all
}
