package main

import (
	"fmt"
	"slices"
	"time"
)

// sample is one figure, taken several times.
type sample []float64

// times adds durations, in seconds.
func (s *sample) times(taken ...time.Duration) {
	for _, d := range taken {
		*s = append(*s, d.Seconds())
	}
}

// quantile is the smallest value that at least the part q of all is not above.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		panic("a figure without a measurement")
	}
	sorted := slices.Sorted(slices.Values(s))
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

func (s sample) median() float64 {
	if len(s) == 0 {
		panic("a figure without a measurement")
	}
	sorted := slices.Sorted(slices.Values(s))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}

// unit is how a figure is written.
type unit struct {
	name  string
	one   float64
	digit int
}

var (
	seconds      = unit{"s", 1, 2}
	milliseconds = unit{"ms", 1e-3, 2}
	microseconds = unit{"µs", 1e-6, 0}
	megabytes    = unit{"MB/s", 1e6, 0}
)

func (u unit) bare(x float64) string { return fmt.Sprintf("%.*f", u.digit, x/u.one) }

func (u unit) of(x float64) string { return u.bare(x) + " " + u.name }

// spread is the median, and between what all runs lay.
func (u unit) spread(s sample) string {
	return fmt.Sprintf("%s (%s–%s)", u.of(s.median()), u.bare(slices.Min(s)), u.bare(slices.Max(s)))
}
