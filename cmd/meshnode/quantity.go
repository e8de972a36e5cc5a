package main

import (
	"errors"
	"fmt"
	"math"
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
