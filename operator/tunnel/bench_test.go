//go:build unix

package tunnel

import (
	"io"
	"net"
	"testing"
)

// The tunnel over the machine's loopback, beside a bare connection over the
// same: what the tunnel itself costs.

func BenchmarkThroughput(b *testing.B) {
	run := func(b *testing.B, conn net.Conn) {
		b.SetBytes(1 << 20)
		b.ReportAllocs()
		piece := make([]byte, 1<<20)
		defer reportCost(b, 1<<20)()
		for b.Loop() {
			if _, err := conn.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
	}
	sink := serveTCP(b, func(conn *net.TCPConn) { io.Copy(io.Discard, conn) })
	source := serveTCP(b, func(conn *net.TCPConn) {
		piece := make([]byte, 64<<10)
		for {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	})
	b.Run("up/bare", func(b *testing.B) {
		conn, err := net.Dial("tcp", sink.String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		run(b, conn)
	})
	c := newStand(b, overTCP(b))
	client := c.connect(c.clientConfig())
	b.Run("up/tunnel", func(b *testing.B) {
		conn, err := client.DialTCP(b.Context(), sink)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		run(b, conn)
	})
	b.Run("down/tunnel", func(b *testing.B) {
		conn, err := client.DialTCP(b.Context(), source)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Reset()
		b.SetBytes(1 << 20)
		piece := make([]byte, 1<<20)
		defer reportCost(b, 1<<20)()
		for b.Loop() {
			if _, err := io.ReadFull(conn, piece); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	to := serveTCP(b, echoTCP)
	run := func(b *testing.B, conn net.Conn) {
		one := make([]byte, 1)
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
	b.Run("bare", func(b *testing.B) {
		conn, err := net.Dial("tcp", to.String())
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		run(b, conn)
	})
	s := newStand(b, overTCP(b))
	client := s.connect(s.clientConfig())
	b.Run("tunnel", func(b *testing.B) {
		conn, err := client.DialTCP(b.Context(), to)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		run(b, conn)
	})
}

func BenchmarkConnect(b *testing.B) {
	to := serveTCP(b, echoTCP)
	s := newStand(b, overTCP(b))
	client := s.connect(s.clientConfig())
	defer reportCost(b, 0)()
	for b.Loop() {
		conn, err := client.DialTCP(b.Context(), to)
		if err != nil {
			b.Fatal(err)
		}
		conn.Write([]byte{1})
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		conn.Reset()
	}
}
