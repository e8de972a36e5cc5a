package node

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// TestPingsKeepTheirBounds claims more tasks than a ping may: what is sent is
// taken, and of the first job it says all that runs.
func TestPingsKeepTheirBounds(t *testing.T) {
	jobs := []protocol.CID{protocol.NewCID(protocol.CodecRaw, []byte("a")), protocol.NewCID(protocol.CodecRaw, []byte("b"))}
	tasks := make([]protocol.Key, protocol.MaxClaims)
	for i := range tasks {
		tasks[i] = protocol.Key{Index: i}
	}
	p := pings{}.to("someone", 1)
	p.claim(protocol.Claim{Job: jobs[0], Tasks: tasks[:10], Running: 10})
	p.claim(protocol.Claim{Job: jobs[1], Tasks: tasks[:10], Running: 10})
	for _, job := range jobs {
		p.claim(protocol.Claim{Job: job, Tasks: tasks[10:]})
	}
	for range protocol.MaxInputs + 1 {
		p.fellow(protocol.ShardRef{Job: jobs[0]})
	}
	m, err := protocol.DecodeMessage(protocol.EncodeMessage(&p.Ping))
	if err != nil {
		t.Fatalf("such a ping is refused: %v", err)
	}
	claims := m.(*protocol.Ping).Claims
	if len(claims) != 2 || claims[0].Running != 10 || claims[1].Running != 10 || len(claims[0].Tasks)+len(claims[1].Tasks) != protocol.MaxClaims-2 {
		t.Errorf("%d claims", len(claims))
	}
}

// TestFellowsHearOfAllJobs has two stewards look after more jobs than fit a
// ping: within a few rounds each is named.
func TestFellowsHearOfAllJobs(t *testing.T) {
	n := startNode(t)
	job := hangingJob(t, n)
	fillUp(t, n, job)
	named := map[protocol.CID]bool{}
	const rounds = maxJobs/protocol.MaxInputs + 1
	n.loop.do(t.Context(), func(now time.Time) {
		fellow := scheduler.Node{ID: peer.ID("fellow")}
		for _, j := range n.loop.jobs {
			j.steward.SetNodes(now, append([]scheduler.Node{fellow}, n.loop.nodes...))
		}
		n.loop.pingFrom = 0
		for range rounds {
			out := pings{}
			n.loop.pingJobs(out, n.loop.jobIDs())
			for _, r := range out[fellow.ID].Stewards {
				named[r.Job] = true
			}
		}
	})
	if len(named) != maxJobs {
		t.Errorf("of %d jobs, %d were named in %d rounds", maxJobs, len(named), rounds)
	}
}
