package scheduler

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// drawLayout draws a job and a layout of it.
func drawLayout(t *rapid.T, splits int) (*protocol.Manifest, *Layout) {
	m := simManifest(rapid.IntRange(1, splits).Draw(t, "splits"), rapid.IntRange(0, 20).Draw(t, "partitions"), rapid.Bool().Draw(t, "combine"))
	return m, layoutOf(m, rapid.SampledFrom([]int{8, 64, protocol.ShardLeaves}).Draw(t, "leaves"))
}

// TestLayoutDealsEveryTaskOnce holds that each task belongs to one shard, that
// shards are no larger than promised, and that a column reads nothing from
// outside and is read through its tops alone.
func TestLayoutDealsEveryTaskOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, l := drawLayout(t, 20000)
		all := 0
		for shard := range l.Shards() {
			all += l.Tasks(shard)
			if shard > 0 && l.Tasks(shard) > 2*l.leaves {
				t.Fatalf("shard %d has %d tasks", shard, l.Tasks(shard))
			}
		}
		if all != m.Tasks() {
			t.Fatalf("%d tasks in shards, %d in all", all, m.Tasks())
		}
		for s, stage := range m.Stages {
			for i := range stage.Tasks {
				k := protocol.Key{Stage: s, Index: i}
				shard := l.ShardOf(k)
				if from, count := l.Range(shard, s); i < from || i >= from+count {
					t.Fatalf("task %s is of shard %d, whose range is %d and %d more", k, shard, from, count)
				}
				from, count := dependencies(m, k)
				for _, i := range []int{from, from + count - 1} {
					dep := protocol.Key{Stage: s - 1, Index: i}
					if s == 0 || l.ShardOf(dep) == shard {
						continue
					}
					if shard != 0 || !l.IsTop(dep) || !slices.Contains(l.Hears(dep), 0) {
						t.Fatalf("task %s of shard %d reads %s of shard %d", k, shard, dep, l.ShardOf(dep))
					}
				}
			}
		}
	})
}

func TestLayoutOfKnownJobs(t *testing.T) {
	for _, c := range []struct {
		name    string
		m       *protocol.Manifest
		shards  int
		largest int // tasks of a column
		first   int // tasks of the job shard
	}{
		{"small", simManifest(512, 3, true), 1, 0, 512 + 64 + 8 + 3 + 1},
		{"one more", simManifest(513, 0, false), 3, 513, 1},
		{"combined", simManifest(131072, 4, true), 257, 585, 32 + 4 + 4 + 1},
		{"merged", simManifest(131072, 4096, false), 257, 585, 4096 + 8 + 1},
		{"a map", simManifest(131072, 0, false), 257, 513, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := NewLayout(c.m)
			largest := 0
			for shard := 1; shard < l.Shards(); shard++ {
				largest = max(largest, l.Tasks(shard))
			}
			if l.Shards() != c.shards || largest != c.largest || l.Tasks(0) != c.first {
				t.Fatalf("%d shards of up to %d tasks and %d, want %d of %d and %d", l.Shards(), largest, l.Tasks(0), c.shards, c.largest, c.first)
			}
		})
	}
}

// TestClaimsSplitAndJoin holds that a claim that was dealt out by shard and put
// together again is the same, but for its order.
func TestClaimsSplitAndJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, l := drawLayout(t, 200)
		key := rapid.Custom(func(t *rapid.T) protocol.Key {
			s := rapid.IntRange(0, len(m.Stages)-1).Draw(t, "stage")
			return protocol.Key{Stage: s, Index: rapid.IntRange(0, m.Stages[s].Tasks-1).Draw(t, "index")}
		})
		keys := rapid.SliceOfDistinct(key, func(k protocol.Key) protocol.Key { return k }).Draw(t, "keys")
		c := protocol.Claim{Job: "job", Tasks: keys, Running: rapid.IntRange(0, len(keys)).Draw(t, "running")}
		var again protocol.Claim
		for shard, part := range ordered(l.Split(c)) {
			for _, k := range part.Tasks {
				if l.ShardOf(k) != shard {
					t.Fatalf("task %s is not of shard %d", k, shard)
				}
			}
			again = Joined(again, part)
		}
		for _, part := range []struct{ was, is []protocol.Key }{
			{c.Tasks[:c.Running], again.Tasks[:again.Running]}, {c.Tasks[c.Running:], again.Tasks[again.Running:]},
		} {
			was, is := slices.Clone(part.was), slices.Clone(part.is)
			slices.SortFunc(was, protocol.Key.Compare)
			slices.SortFunc(is, protocol.Key.Compare)
			if !slices.Equal(was, is) {
				t.Fatalf("%v became %v", c, again)
			}
		}
	})
}

// TestTasksThatTheJobLacks holds that what a peer makes up is left out.
func TestTasksThatTheJobLacks(t *testing.T) {
	l := layoutOf(simManifest(20, 0, false), 8)
	made := []protocol.Key{{Stage: 9}, {Index: 20}, {Stage: 1, Index: 1}, {Index: 19}}
	if got := l.ByShard(made); len(got) != 1 || !slices.Equal(got[3], []protocol.Key{{Index: 19}}) {
		t.Fatalf("dealt out as %v", got)
	}
	if got := l.Split(protocol.Claim{Tasks: made, Running: 4}); len(got) != 1 || got[3].Running != 1 {
		t.Fatalf("split into %v", got)
	}
}
