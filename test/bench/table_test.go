package main

import (
	"strings"
	"testing"
)

func TestSample(t *testing.T) {
	s := sample{5, 1, 4, 2, 3}
	if got := s.median(); got != 3 {
		t.Errorf("the median is %f", got)
	}
	if got := append(s, 9).median(); got != 3.5 {
		t.Errorf("the median of an even number is %f", got)
	}
	hundred := make(sample, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := hundred.quantile(q); got != want {
			t.Errorf("the quantile %f is %f, not %f", q, got, want)
		}
	}
	if got, want := milliseconds.spread(sample{0.002, 0.001, 0.0035}), "2.00 ms (1.00–3.50)"; got != want {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{measured: sample{3.25}, floor: sample{3}, in: seconds, goal: above(0.3)}, "met, 0.05 s to spare"},
		{row{measured: sample{3.63}, floor: sample{3}, in: seconds, goal: above(0.3)}, "MISSED by 0.33 s (10 %)"},
		{row{measured: sample{0.15}, in: milliseconds, goal: within(0.1)}, "MISSED by 50.00 ms (50 %)"},
		{row{measured: sample{100e6}, floor: sample{100e6}, in: megabytes, goal: timesAtLeast(0.9)}, "met, 10 MB/s to spare"},
		{row{measured: sample{45e6}, floor: sample{100e6}, in: megabytes, goal: timesAtLeast(0.9)}, "MISSED by 45 MB/s (50 %)"},
		{row{measured: sample{500e-6}, floor: sample{400e-6}, in: microseconds, goal: timesAtMost(1.2)}, "MISSED by 20 µs (4 %)"},
		{row{measured: sample{1}, in: seconds}, "no goal"},
	} {
		if got := c.row.verdict(); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	var out strings.Builder
	write(&out, []row{
		{what: "a round trip", measured: sample{2e-6}, against: "raw", floor: sample{1e-6}, in: microseconds, goal: timesAtMost(1.2)},
		{what: "alone", measured: sample{1e-3}, in: milliseconds, goal: within(0.1)},
	})
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines:\n%s", len(lines), out.String())
	}
	for _, line := range lines {
		if got := strings.Count(line, "|"); got != 8 {
			t.Errorf("%d bars in %q", got, line)
		}
		if len([]rune(line)) != len([]rune(lines[0])) {
			t.Errorf("not as wide as the first: %q", line)
		}
	}
	if !strings.Contains(lines[2], "| 2.00  |") {
		t.Errorf("no ratio in %q", lines[2])
	}
}
