//go:build unix

package tunnel

import (
	"syscall"
	"testing"
	"time"
)

// processorTime is what this process has used so far, user and system. Beside
// a benchmark's time on the clock it says what something costs on a machine
// that has other things to do as well.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// reportCost returns what reports the processor time for each of bytes, or for
// each operation where bytes is 0, since then.
func reportCost(b *testing.B, bytes int) func() {
	began := processorTime()
	return func() {
		used := float64(processorTime()-began) / float64(b.N)
		if bytes > 0 {
			b.ReportMetric(used/float64(bytes), "cpu-ns/B")
			return
		}
		b.ReportMetric(used, "cpu-ns/op")
	}
}
