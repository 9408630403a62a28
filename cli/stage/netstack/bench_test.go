//go:build linux

package netstack

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/cli/stage/network"
	"understudy.dev/understudy/operator/tunnel"
)

// What a byte, a round trip and a connection cost between a process in a stage
// and the tunnel: the kernel's TCP, the device, and the stack here. The far end
// is a pipe in memory.

// near is an Outside whose connections end in this process.
type near struct{ serve func(io.ReadWriteCloser) }

func (n near) DialTCP(context.Context, netip.AddrPort) (tunnel.Conn, error) {
	up, down := newLane(), newLane()
	go n.serve(&memory{in: up, out: down})
	return &memory{in: down, out: up}, nil
}

func (near) DialUDP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, tunnel.ErrRefused
}

// lane hands over what is written, as it is, to one reader at a time.
type lane struct {
	pieces chan []byte
	taken  chan struct{}
	closed chan struct{}
}

func newLane() *lane {
	return &lane{make(chan []byte), make(chan struct{}), make(chan struct{})}
}

// memory is a connection that costs next to nothing.
type memory struct {
	in, out *lane
	rest    []byte
}

func (m *memory) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		select {
		case m.rest = <-m.in.pieces:
		case <-m.in.closed:
			return 0, io.EOF
		}
	}
	n := copy(p, m.rest)
	if m.rest = m.rest[n:]; len(m.rest) == 0 {
		m.in.taken <- struct{}{}
	}
	return n, nil
}

func (m *memory) Write(p []byte) (int, error) {
	select {
	case m.out.pieces <- p:
	case <-m.out.closed:
		return 0, io.ErrClosedPipe
	}
	select {
	case <-m.out.taken:
	case <-m.out.closed:
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func (m *memory) CloseWrite() error {
	select {
	case <-m.out.closed:
	default:
		close(m.out.closed)
	}
	return nil
}

func (m *memory) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{m})
}
func (m *memory) Close() error                   { return m.CloseWrite() }
func (*memory) CloseRead() error                 { return nil }
func (m *memory) Reset() error                   { return m.Close() }
func (*memory) LocalAddr() net.Addr              { return nil }
func (*memory) RemoteAddr() net.Addr             { return nil }
func (*memory) SetDeadline(time.Time) error      { return nil }
func (*memory) SetReadDeadline(time.Time) error  { return nil }
func (*memory) SetWriteDeadline(time.Time) error { return nil }

// inStage starts a stack on a device in a network namespace of its own, and
// returns a dial from in there. Needs root.
func inStage(b *testing.B, kind string, outside Outside) func() net.Conn {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("makes a network namespace: needs root")
	}
	type made struct {
		device *network.Device
		err    error
	}
	ready := make(chan made)
	dials := make(chan chan net.Conn)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- made{err: err}
			return
		}
		device, err := network.Open(kind)
		if err == nil {
			err = network.Up(device, []netip.Addr{netip.MustParseAddr("10.9.0.2")}, func(string) {})
		}
		ready <- made{device, err}
		if err != nil {
			return
		}
		for answer := range dials {
			answer <- dialHere()
		}
	}()
	m := <-ready
	if m.err != nil {
		b.Skipf("no %s device: %v", kind, m.err)
	}
	stack, err := New(Device{File: m.device.File, Ethernet: m.device.Ethernet, MAC: m.device.MAC, MTU: network.MTU}, outside, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { close(dials); stack.Close() })
	return func() net.Conn {
		answer := make(chan net.Conn)
		dials <- answer
		conn := <-answer
		if conn == nil {
			b.Fatal("connecting from the stage failed")
		}
		return conn
	}
}

// dialHere connects in the calling thread's network namespace: a socket belongs
// to that of the thread that makes it.
func dialHere() net.Conn {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: [4]byte{10, 9, 9, 9}}); err != nil {
		unix.Close(fd)
		return nil
	}
	_ = unix.SetNonblock(fd, true)
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil
	}
	return conn
}

// reportCost reports the processor time of the whole process, its share of the
// kernel's too, for each of bytes, or for each operation where bytes is 0.
func reportCost(b *testing.B, bytes int) func() {
	used := func() time.Duration {
		var u unix.Rusage
		_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
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

func eachDevice(b *testing.B, run func(b *testing.B, kind string)) {
	for _, kind := range []string{"veth", "tun"} {
		b.Run(kind, func(b *testing.B) { run(b, kind) })
	}
}

const benchPiece = 1 << 20

func BenchmarkUp(b *testing.B) {
	eachDevice(b, func(b *testing.B, kind string) {
		conn := inStage(b, kind, near{func(far io.ReadWriteCloser) {
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{far})
			far.Close()
		}})()
		defer conn.Close()
		piece := make([]byte, benchPiece)
		b.SetBytes(benchPiece)
		b.ReportAllocs()
		defer reportCost(b, benchPiece)()
		for b.Loop() {
			if _, err := conn.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDown(b *testing.B) {
	eachDevice(b, func(b *testing.B, kind string) {
		conn := inStage(b, kind, near{func(far io.ReadWriteCloser) {
			piece := make([]byte, 64<<10)
			for {
				if _, err := far.Write(piece); err != nil {
					return
				}
			}
		}})()
		defer conn.Close()
		piece := make([]byte, benchPiece)
		b.SetBytes(benchPiece)
		b.ReportAllocs()
		defer reportCost(b, benchPiece)()
		for b.Loop() {
			if _, err := io.ReadFull(conn, piece); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func echo(far io.ReadWriteCloser) {
	_, _ = io.Copy(struct{ io.Writer }{far}, struct{ io.Reader }{far})
	far.Close()
}

func BenchmarkRoundTrip(b *testing.B) {
	eachDevice(b, func(b *testing.B, kind string) {
		conn := inStage(b, kind, near{echo})()
		defer conn.Close()
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
	})
}

func BenchmarkConnect(b *testing.B) {
	eachDevice(b, func(b *testing.B, kind string) {
		dial := inStage(b, kind, near{echo})
		one := make([]byte, 1)
		b.ReportAllocs()
		defer reportCost(b, 0)()
		for b.Loop() {
			conn := dial()
			if _, err := conn.Write(one); err != nil {
				b.Fatal(err)
			}
			if _, err := conn.Read(one); err != nil {
				b.Fatal(err)
			}
			conn.Close()
		}
	})
}
