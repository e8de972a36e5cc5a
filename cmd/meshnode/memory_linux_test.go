package main

import "testing"

func TestMachineMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       16384 kB\nMemFree:  1 kB\n": 16 << 20,
		"MemFree: 1 kB\nMemTotal: 2 kB":              2 << 10,
		"MemFree: 1 kB\n":                            0,
		"MemTotal: lots\n":                           0,
		"MemTotal: -5 kB\n":                          0,
		"":                                           0,
	} {
		if got := totalMemory(text); got != want {
			t.Errorf("%q says %d, want %d", text, got, want)
		}
	}
	if got := machineMemory(); got < 64<<20 {
		t.Errorf("this machine has %d bytes", got)
	}
}
