package cgroup

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// BenchmarkFreeze is from the wish to the kernel's word that it is so, in a
// container of 20 processes; beside the floor, one write to the kernel's file
// and no question whether it took effect.
func BenchmarkFreeze(b *testing.B) {
	for _, version := range []Version{V1, V2} {
		bed := makeBed(b, version, int(version))
		for range 20 {
			bed.Start("count", bed.Dirs)
		}
		g := bed.find()
		b.Run(fmt.Sprintf("confirmed/%v", version), func(b *testing.B) {
			var total time.Duration
			for b.Loop() {
				began := time.Now()
				if err := g.Freeze(b.Context()); err != nil {
					b.Fatal(err)
				}
				total += time.Since(began)
				if err := g.Thaw(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/freeze")
			b.ReportMetric(0, "ns/op") // it has the thaw in it
		})
		b.Run(fmt.Sprintf("floor/%v", version), func(b *testing.B) {
			file, freeze, thaw := "cgroup.freeze", "1", "0"
			if version == V1 {
				file, freeze, thaw = "freezer.state", "FROZEN", "THAWED"
			}
			var total time.Duration
			for b.Loop() {
				began := time.Now()
				if err := g.write(file, freeze); err != nil {
					b.Fatal(err)
				}
				total += time.Since(began)
				if err := g.write(file, thaw); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms/freeze")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("find", func(b *testing.B) {
		bed := makeBed(b, 0, 2)
		bed.Start("count", bed.Dirs)
		for b.Loop() {
			g, err := bed.node.Find(bed.container)
			if err != nil {
				b.Fatal(err)
			}
			g.Close()
		}
		table, err := os.ReadDir("/proc")
		if err != nil {
			b.Fatal(err)
		}
		processes := 0
		for _, entry := range table {
			if strings.Trim(entry.Name(), "0123456789") == "" {
				processes++
			}
		}
		b.ReportMetric(float64(processes), "processes")
	})
}
