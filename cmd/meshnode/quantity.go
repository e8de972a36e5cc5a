package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// byteSize is the value of a flag that takes a number of bytes: 4096, 64MiB,
// 1.5G. Units are binary (K, KiB) unless they end in a plain B (KB).
type byteSize int64

var errByteSize = errors.New("a size is a number of bytes, at least 1, like 4096, 64MiB, 1.5G or 10MB")

func parseBytes(text string) (int64, error) {
	digits := strings.TrimRight(strings.ToLower(text), "kmgtib")
	number, err := strconv.ParseFloat(digits, 64)
	unit, known := byteUnit(strings.ToLower(text)[len(digits):])
	size := number * unit
	if err != nil || !known || !(size >= 1) || size >= math.MaxInt64 || strings.ContainsAny(digits, "ex_pn+") {
		return 0, errByteSize
	}
	if unit == 1 { // a float has no room for every large integer
		return strconv.ParseInt(digits, 10, 64)
	}
	return int64(size), nil
}

func byteUnit(name string) (float64, bool) {
	if name == "" || name == "b" {
		return 1, true
	}
	power := strings.IndexByte("kmgt", name[0]) + 1
	if power == 0 {
		return 0, false
	}
	switch name[1:] {
	case "", "i", "ib":
		return math.Pow(1024, float64(power)), true
	case "b":
		return math.Pow(1000, float64(power)), true
	}
	return 0, false
}

func (b *byteSize) Set(text string) error {
	n, err := parseBytes(text)
	if err != nil {
		return errByteSize
	}
	*b = byteSize(n)
	return nil
}

func (b *byteSize) Type() string { return "bytes" }

func (b *byteSize) String() string {
	if *b == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*b), 10)
}

// formatBytes writes a size for people.
func formatBytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), -1
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}

// period is the value of a flag that takes a time: what Go writes, and days and
// weeks in front of that, like 90m, 36h, 2d or 1w2d12h.
type period time.Duration

var errPeriod = errors.New("a time is numbers with units of ms, s, m, h, d (24 h) or w (7 d), like 90s, 1h30m, 2d or 1w")

// longUnits are what Go's durations lack.
var longUnits = regexp.MustCompile(`^(?:([0-9]+)w)?(?:([0-9]+)d)?`)

// maxLong bounds each of them, so that their sum is a time.
const maxLong = 10_000

func parsePeriod(text string) (time.Duration, error) {
	parts := longUnits.FindStringSubmatch(text)
	rest := text[len(parts[0]):]
	var d time.Duration
	if rest != "" || parts[0] == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil || parts[0] != "" && (d < 0 || rest[0] == '+') {
			return 0, errPeriod
		}
	}
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour} {
		if parts[i+1] == "" {
			continue
		}
		n, err := strconv.Atoi(parts[i+1])
		if err != nil || n > maxLong || d > math.MaxInt64-time.Duration(n)*unit {
			return 0, errPeriod
		}
		d += time.Duration(n) * unit
	}
	return d, nil
}

func (p *period) Set(text string) error {
	d, err := parsePeriod(text)
	if err == nil {
		*p = period(d)
	}
	return err
}

func (p *period) Type() string { return "duration" }

func (p *period) String() string {
	if *p == 0 {
		return ""
	}
	return time.Duration(*p).String()
}

// exactBytes writes a size as a flag takes it, in the largest unit that leaves
// no fraction.
func exactBytes(n int64) string {
	const units = "KMGT"
	unit := -1
	for n >= 1024 && n%1024 == 0 && unit < len(units)-1 {
		n /= 1024
		unit++
	}
	if unit < 0 {
		return strconv.FormatInt(n, 10)
	}
	return fmt.Sprintf("%d%ciB", n, units[unit])
}

// formatDuration writes a duration for people: three digits say enough.
func formatDuration(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// formatTime writes a time for people.
func formatTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// count writes a number and what it counts.
func count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
