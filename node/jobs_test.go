package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meshnode/meshnode/protocol"
	"github.com/meshnode/meshnode/scheduler"
)

// TestJobsFitOneAnswer holds that a list of jobs which have much to say about
// their failure still arrives, with those that were committed last.
func TestJobsFitOneAnswer(t *testing.T) {
	n := meshOf(t, 1)[0]
	const jobs = maxJobsListed
	program := protocol.Program{Kind: protocol.Func, Func: "upper"}
	n.loop.do(n.ctx, func(now time.Time) {
		for i := range jobs {
			id := protocol.NewCID(protocol.CodecDagCBOR, fmt.Append(nil, i))
			j := n.loop.newJob(now, id, &protocol.Manifest{Copies: 1, Stages: scheduler.Stages(scheduler.Chain{Splits: 1, Map: program})})
			for _, f := range []protocol.Fact{
				{Kind: protocol.Committed, At: now.Add(time.Duration(i) * time.Second), Copies: 1},
				{Kind: protocol.Failed, At: now, Text: strings.Repeat("x", protocol.MaxText)},
			} {
				f.Job, f.By = id, n.id
				j.plan.AddFact(protocol.Signed{Body: protocol.Encode(f)}, &f)
			}
			j.ended, j.endedAt = true, now
			n.loop.jobs[id] = j
		}
	})
	list := n.localJobs(n.ctx)
	if size := len(protocol.Encode(protocol.Answer{Jobs: list})); size > protocol.MaxMessage {
		t.Errorf("an answer of %d bytes, at most %d travel", size, protocol.MaxMessage)
	}
	if last := protocol.NewCID(protocol.CodecDagCBOR, fmt.Append(nil, jobs-1)); len(list) < 50 || list[0].Job != last {
		t.Fatalf("%d jobs are listed, the first is not the newest", len(list))
	}
}
