//go:build unix

package link

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// What a stream costs this machine, the test's own server included.

// reportCost reports the processor time of the whole process for each of
// bytes, or for each operation where bytes is 0.
func reportCost(b *testing.B, bytes int) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	began := used()
	return func() {
		each := float64(used()-began) / float64(b.N)
		if bytes > 0 {
			b.ReportMetric(each/float64(bytes), "cpu-ns/B")
			return
		}
		b.ReportMetric(each, "cpu-ns/op")
	}
}

func benchDialed(b *testing.B, serve func(io.ReadWriteCloser)) net.Conn {
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	conn, err := (&server{t: b, serve: serve}).start().Dial(ctx, agent)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

const benchPiece = 64 << 10

func BenchmarkUp(b *testing.B) {
	conn := benchDialed(b, func(rw io.ReadWriteCloser) { _, _ = io.Copy(io.Discard, rw) })
	piece := make([]byte, benchPiece)
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	defer reportCost(b, benchPiece)()
	for b.Loop() {
		if _, err := conn.Write(piece); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDown(b *testing.B) {
	conn := benchDialed(b, func(rw io.ReadWriteCloser) {
		piece := make([]byte, 32<<10) // what the container runtime reads at once
		for {
			if _, err := rw.Write(piece); err != nil {
				return
			}
		}
	})
	piece := make([]byte, benchPiece)
	b.SetBytes(benchPiece)
	b.ReportAllocs()
	defer reportCost(b, benchPiece)()
	for b.Loop() {
		if _, err := io.ReadFull(conn, piece); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	conn := benchDialed(b, nil)
	one := make([]byte, 1)
	b.ReportAllocs()
	defer reportCost(b, 0)()
	for b.Loop() {
		if _, err := conn.Write(one); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(one); err != nil {
			b.Fatal(err)
		}
	}
}
