// Package figures sums up what the trials of a benchmark measured. Its
// functions keep nothing and may be called from any goroutine.
package figures

import "fmt"

// Median is the middle of sorted values, or 0.
func Median(sorted []float64) float64 {
	n := len(sorted)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Spread prints the median of sorted values, and the range of several.
func Spread(sorted []float64, format string) string {
	if len(sorted) == 0 {
		return "-"
	}
	s := fmt.Sprintf(format, Median(sorted))
	if first, last := fmt.Sprintf(format, sorted[0]), fmt.Sprintf(format, sorted[len(sorted)-1]); first != last {
		s += " (" + first + "-" + last + ")"
	}
	return s
}
