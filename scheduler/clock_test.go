package scheduler

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/meshnode/meshnode/protocol"
)

// TestClockAgainstMinority holds that no minority of a mesh moves a good clock,
// and that a bad one, itself of the minority, goes by the others.
func TestClockAgainstMinority(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(3, 30).Draw(t, "size")
		wrong := rapid.IntRange(1, (size-1)/2).Draw(t, "wrong")
		behind := time.Duration(0)
		if rapid.Bool().Draw(t, "own is wrong") {
			behind = time.Duration(rapid.Int64Range(int64(time.Minute), int64(1000*time.Hour)).Draw(t, "behind"))
			wrong--
		}
		c := NewClock()
		c.SetPeers(size - 1)
		for i, id := range peers(size - 1) {
			says := behind + time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, "skew"))
			if i < wrong {
				says = time.Duration(rapid.Int64().Draw(t, "lie"))
			}
			c.Heard(noon, id, noon.Add(says))
		}
		if (c.Offset() - behind).Abs() > time.Second {
			t.Fatalf("%d others of %d are wrong: the offset is %s, should be about %s", wrong, size, c.Offset(), behind)
		}
	})
}

// TestClockNeedsMost holds that a few who speak are no majority of many.
func TestClockNeedsMost(t *testing.T) {
	c := NewClock()
	c.SetPeers(9)
	for i, id := range peers(9) {
		notes := c.Heard(noon, id, noon.Add(time.Hour))
		if most := i+1 >= 6; most != (c.Offset() == time.Hour) || (len(notes) == 1) != (i+1 == 6) {
			t.Fatalf("%d of 9 peers are an hour ahead: offset %s, %d notes", i+1, c.Offset(), len(notes))
		}
	}
	if got := c.Now(noon); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("it is %s", got)
	}
}

func TestLifeOf(t *testing.T) {
	m := &protocol.Manifest{RunUntil: noon, KeepUntil: noon.Add(time.Hour)}
	for _, c := range []struct {
		at   time.Duration
		want Life
	}{
		{0, Running}, {1, Kept}, {time.Hour, Kept}, {time.Hour + 1, Expired}, {time.Hour + forgetAfter, Expired}, {time.Hour + forgetAfter + 1, Forgotten},
	} {
		if got := LifeOf(m, noon.Add(c.at)); got != c.want {
			t.Errorf("%s after it had to end its life is %d, want %d", c.at, got, c.want)
		}
	}
}

// TestRelease holds who must be known to hold a result before its inputs go.
func TestRelease(t *testing.T) {
	ids := peers(4)
	for _, c := range []struct {
		name  string
		kind  protocol.FactKind // "" while the job goes on
		holds []bool            // of the live ones; the last node is away
		away  Member
		may   bool
	}{
		{"going on", "", []bool{true, true, true}, Member{Left: true}, false},
		{"final and held", protocol.Final, []bool{true, true, true}, Member{Left: true}, true},
		{"final, copies lost since", protocol.Final, []bool{true, true, false}, Member{Left: true}, false},
		{"a member is only away", protocol.Final, []bool{true, true}, Member{Seen: noon.Add(-time.Hour)}, false},
		{"a member is long gone", protocol.Final, []bool{true, true}, Member{Seen: noon.Add(-25 * time.Hour)}, true},
		{"failed, and may still run", protocol.Failed, []bool{true, true, true}, Member{Left: true}, false},
		{"cancelled", protocol.Cancelled, []bool{false}, Member{Left: true}, true},
	} {
		m := simManifest(1, 0, false)
		m.RunUntil, m.KeepUntil = noon.Add(time.Hour), noon.Add(2*time.Hour)
		p := NewPlan(someRoot, m)
		if c.kind != "" {
			f := protocol.Fact{Job: someRoot, Kind: c.kind, Root: someRoot}
			p.AddFact(protocol.Signed{Body: protocol.Encode(f)}, &f)
		}
		c.away.ID = ids[3]
		members := []Member{c.away}
		for i := range c.holds {
			members = append(members, Member{ID: ids[i], Alive: true})
		}
		r := NewRelease(noon, noon, p, members)
		play(r, func(a Ask, _ time.Time) (Reply, time.Duration) {
			for i, id := range ids[:len(c.holds)] {
				if a.To == id {
					return reply(a, 1, c.holds[i]), time.Millisecond
				}
			}
			return Reply{}, 0
		})
		if may := r.Failed() == ""; !r.Ended() || may != c.may {
			t.Errorf("%s: may drop its inputs: %v (%s)", c.name, may, r.Failed())
		}
	}
}
