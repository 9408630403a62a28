package freeze

import (
	"os"
	"testing"
	"time"

	"understudy.dev/understudy/operator/freeze/cgroup"
	"understudy.dev/understudy/operator/freeze/freezetest"
	"understudy.dev/understudy/operator/freeze/record"
)

// BenchmarkHold is what a session waits for: a container of 20 processes found,
// the record on the disk, a guard that is armed; then from the wish to freeze to
// the kernel's word; then all of it undone.
func BenchmarkHold(b *testing.B) {
	pod := freezetest.NewPod(b, 2)
	for range 20 {
		pod.Start("count", pod.Dirs)
	}
	b.Setenv(stateVariable, b.TempDir())
	// Where records really are: in memory.
	path, err := os.MkdirTemp("/run", "understudy-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(path)
	dir := record.Dir(path)
	var begin, frozen, end time.Duration
	for b.Loop() {
		start := time.Now()
		hold, err := Begin(b.Context(), Options{
			Session: session, PodUID: pod.UID, Lease: longLease, Directory: dir,
			Containers: []cgroup.Container{{PodUID: pod.UID, ID: pod.ID}},
		})
		if err != nil {
			b.Fatal(err)
		}
		begin += time.Since(start)
		start = time.Now()
		if err := hold.Freeze(b.Context(), cgroup.Container{PodUID: pod.UID, ID: pod.ID}); err != nil {
			b.Fatal(err)
		}
		frozen += time.Since(start)
		start = time.Now()
		if err := hold.End(b.Context()); err != nil {
			b.Fatal(err)
		}
		end += time.Since(start)
	}
	for name, total := range map[string]time.Duration{"begin": begin, "freeze": frozen, "end": end} {
		b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/"+name)
	}
	b.ReportMetric(0, "ns/op")
}
