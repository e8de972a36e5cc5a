package main

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseBytes(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64 // 0: refused
	}{
		{"1", 1}, {"4096", 4096}, {"4096B", 4096}, {"9007199254740993", 9007199254740993},
		{"64MiB", 64 << 20}, {"64mib", 64 << 20}, {"64M", 64 << 20}, {"64Mi", 64 << 20}, {"64MB", 64_000_000},
		{"1G", 1 << 30}, {"1.5GiB", 3 << 29}, {"2K", 2048}, {"2kB", 2000}, {"1T", 1 << 40},
		{"", 0}, {"0", 0}, {"-1", 0}, {"+1", 0}, {"x", 0}, {"1X", 0}, {"1XB", 0}, {"1KM", 0}, {"1BK", 0}, {"1.5", 0}, {"0.5", 0},
		{"1e3", 0}, {"0x10", 0}, {"1_000", 0}, {"Inf", 0}, {"NaN", 0}, {"infG", 0}, {"9223372036854775808", 0}, {"9000000T", 0},
		{"1 K", 0}, {"KiB", 0}, {"64ib", 0}, {"64bb", 0},
	} {
		got, err := parseBytes(c.text)
		if c.want == 0 && err == nil || c.want != 0 && (err != nil || got != c.want) {
			t.Errorf("%q: got %d, %v, want %d", c.text, got, err, c.want)
		}
	}
}

func TestByteSizeReadsWhatItPrints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := byteSize(rapid.Int64Range(1, 1<<62).Draw(t, "size"))
		var again byteSize
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%d became %d, %v", b, again, err)
		}
	})
}

func TestParseBytesTakesAnyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9.]{0,5}[kKmMiIbB]{0,4}`)).Draw(t, "text")
		if n, err := parseBytes(text); err == nil && n < 1 {
			t.Errorf("%q gave %d", text, n)
		}
	})
}

func TestFormat(t *testing.T) {
	for got, want := range map[string]string{
		formatBytes(0):                                        "0 B",
		formatBytes(1023):                                     "1023 B",
		formatBytes(3 << 19):                                  "1.5 MiB",
		formatBytes(1<<63 - 1):                                "8.0 EiB",
		formatDuration(1234567 * time.Nanosecond):             "1ms",
		formatDuration(2345 * time.Millisecond):               "2.3s",
		formatDuration(90*time.Second + 400*time.Millisecond): "1m30s",
		formatTime(nil):                                       "-",
		count(1, "task"):                                      "1 task",
		count(0, "task"):                                      "0 tasks",
		shellWord("/tmp/a"):                                   "/tmp/a",
		shellWord("it's"):                                     `'it'\''s'`,
		shellWord(""):                                         "''",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestParsePeriod(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		text string
		want time.Duration
		bad  bool
	}{
		{"90m", 90 * time.Minute, false}, {"1h30m", 90 * time.Minute, false}, {"0s", 0, false}, {"-1h", -time.Hour, false},
		{"2d", 2 * day, false}, {"1w", 7 * day, false}, {"1w2d12h", 9*day + 12*time.Hour, false}, {"1d1ms", day + time.Millisecond, false},
		{"", 0, true}, {"2", 0, true}, {"d", 0, true}, {"-2d", 0, true}, {"2d-1h", 0, true}, {"2d+1h", 0, true}, {"1d1w", 0, true}, {"1.5d", 0, true},
		{"20000w", 0, true}, {"99999999999999999999d", 0, true}, {"2d 1h", 0, true}, {"soon", 0, true},
		{"10000w2562047h", 0, true},
	} {
		got, err := parsePeriod(c.text)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%q: got %v, %v, want %v", c.text, got, err, c.want)
		}
	}
}

func TestExactBytesReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 1<<52).Draw(t, "size")
		if rapid.Bool().Draw(t, "even") {
			n = n >> 30 << 20
		}
		if again, err := parseBytes(exactBytes(max(n, 1))); err != nil || again != max(n, 1) {
			t.Errorf("%d became %q, %d, %v", n, exactBytes(max(n, 1)), again, err)
		}
	})
}
