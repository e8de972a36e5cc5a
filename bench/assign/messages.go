package main

// Messages are counted by the nodes themselves: what each sent, by kind.

// sent is what all nodes of a mesh have sent since they started.
func sent(m *mesh) map[string]int64 {
	all := map[string]int64{}
	for _, n := range m.nodes() {
		for kind, count := range n.Status().Sent {
			all[kind] += count
		}
	}
	return all
}

// since is how much more there is now than before.
func since(before, now map[string]int64) map[string]int64 {
	more := map[string]int64{}
	for kind, count := range now {
		if d := count - before[kind]; d > 0 {
			more[kind] = d
		}
	}
	return more
}

// perTask is how many messages a task took, of those that all nodes sent from
// the first submission until the last job's end was known.
func (r result) perTask() float64 {
	if len(r.Messages) == 0 || r.Tasks == 0 {
		return unknown
	}
	var sum int64
	for _, n := range r.Messages {
		sum += n
	}
	return float64(sum) / float64(r.Tasks)
}
