package main

import (
	"os"
	"strconv"
	"strings"
)

// machineMemory is how many bytes of memory the machine has; 0 when it does not
// say.
func machineMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	return totalMemory(string(text))
}

// totalMemory finds the total in the text of /proc/meminfo, which counts in
// KiB.
func totalMemory(text string) int64 {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil || kib < 0 || kib > 1<<52 {
			return 0
		}
		return kib << 10
	}
	return 0
}
