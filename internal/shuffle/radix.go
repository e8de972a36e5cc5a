package shuffle

import "slices"

// radixCutoff is the length from which distributing entries by a byte of their
// prefix pays; shorter lists are sorted by comparison.
const radixCutoff = 512

// sortByPrefix sorts entries by compare, whose first criterion is the prefix,
// and which agree in all of its bits above shift+8. It is the in-place radix
// sort known as American flag sort (McIlroy, Bostic, McIlroy 1993).
func sortByPrefix(list []entry, shift int, compare func(a, b entry) int) {
	if len(list) < radixCutoff || shift < 0 {
		slices.SortFunc(list, compare)
		return
	}
	var ends [256]int
	for _, e := range list {
		ends[byte(e.prefix>>shift)]++
	}
	next, sum := ends, 0 // where the next entry of each byte goes
	for b, n := range ends {
		next[b] = sum
		sum += n
		ends[b] = sum
	}
	for b := range next {
		for next[b] < ends[b] {
			e := list[next[b]]
			for {
				home := byte(e.prefix >> shift)
				at := next[home]
				next[home]++
				list[at], e = e, list[at]
				if int(home) == b {
					break
				}
			}
		}
	}
	begin := 0
	for _, end := range ends {
		sortByPrefix(list[begin:end], shift-8, compare)
		begin = end
	}
}
