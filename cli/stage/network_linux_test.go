package stage

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// serve listens in the pod's network, as localRemote has it, and handles each
// connection.
func serve(t testing.TB, address string, handle func(*net.TCPConn)) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			}()
		}
	}()
}

func serveUDP(t testing.TB, address string, answer func([]byte) []byte) {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		datagram := make([]byte, 65536)
		for {
			n, from, err := conn.ReadFrom(datagram)
			if err != nil {
				return
			}
			conn.WriteTo(answer(datagram[:n]), from)
		}
	}()
}

func same(b []byte) []byte { return b }

func TestWhatADialComesToIsWhatTheLocalProcessSees(t *testing.T) {
	serve(t, "127.96.0.1:7000", func(conn *net.TCPConn) {
		// Answers only when the other direction has ended: half-close must
		// travel both ways.
		all, _ := io.ReadAll(conn)
		fmt.Fprintf(conn, "%s, %d bytes", all, len(all))
	})
	serve(t, "127.96.6.1:7000", func(conn *net.TCPConn) {
		io.Copy(io.Discard, conn)
		io.WriteString(conn, "six")
	})
	serve(t, "127.96.0.1:7001", func(conn *net.TCPConn) {
		conn.Read(make([]byte, 1))
		conn.SetLinger(0)
	})
	serve(t, "127.96.0.1:7002", func(conn *net.TCPConn) {
		line, _ := bufio.NewReader(conn).ReadString('\n')
		io.WriteString(conn, line)
	})
	serveUDP(t, "127.96.0.1:7003", same)
	table := []struct {
		name string
		args []string
		want string
	}{
		{"success with half-close", []string{"tcp", "10.96.0.1:7000"}, `"hello, 5 bytes"`},
		{"success over IPv6", []string{"tcp", "[fd00:96::1]:7000"}, `"six"`},
		{"refused", []string{"tcp", "10.96.0.1:7999"}, "refused"},
		{"refused over IPv6", []string{"tcp", "[fd00:96::1]:7999"}, "refused"},
		{"unreachable", []string{"tcp", "10.99.0.1:80"}, "unreachable"},
		{"unreachable over IPv6", []string{"tcp", "[fd00:99::1]:80"}, "unreachable"},
		{"silence", []string{"tcp", "10.99.0.2:80"}, "timeout"},
		{"reset", []string{"reset", "10.96.0.1:7001"}, "reset"},
		{"many at the same time", []string{"many", "10.96.0.1:7002", "200"}, "all"},
		{"UDP", []string{"udp", "10.96.0.1:7003", "5"}, "5"},
		{"a large UDP datagram", []string{"udp", "10.96.0.1:7003", "60000"}, "60000"},
		{"UDP refused", []string{"udp", "10.96.0.1:7998", "5"}, "refused"},
		// Linux tells a UDP socket of unreachable hosts only if asked (IP_RECVERR).
		{"UDP unreachable", []string{"udp", "10.99.0.1:53", "5"}, "timeout"},
		{"nothing local", []string{"tcp", "127.0.0.1:7999"}, "refused"},
		{"nothing at the pod's own address", []string{"tcp", "10.98.0.1:7999"}, "refused"},
	}
	eachPlayer(t, func(t *testing.T, p player) {
		for _, test := range table {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				if got := output(t, p, script{}, append([]string{client(t)}, test.args...)...); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		}
	})
}

// A reset by the local process, too, must reach the far end as a reset.
func TestALocalResetIsARemoteReset(t *testing.T) {
	ended := make(chan error, 10)
	serve(t, "127.96.0.1:7010", func(conn *net.TCPConn) {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	})
	eachPlayer(t, func(t *testing.T, p player) {
		s := begin(t, command(t, p, script{}, client(t), "hold", "10.96.0.1:7010"))
		s.expect("connected")
		s.stdin.Close() // it resets, and goes
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("the far end saw %v", err)
		}
	})
}

// A pod without an IPv6 address has no route for IPv6.
func TestAFamilyWithoutAnAddressHasNoRoute(t *testing.T) {
	only4 := welcome()
	only4.Addresses = only4.Addresses[:1]
	eachPlayer(t, func(t *testing.T, p player) {
		if got := output(t, p, script{Welcome: only4}, client(t), "tcp", "[fd00:96::1]:7000"); got != "unreachable" {
			t.Errorf("got %s", got)
		}
	})
}

func BenchmarkThroughput(b *testing.B) {
	serve(b, "127.96.0.1:7020", func(conn *net.TCPConn) {
		reader := bufio.NewReaderSize(conn, 1<<20)
		var direction string
		var total int64
		if _, err := fmt.Fscanf(reader, "%s %d\n", &direction, &total); err != nil {
			return
		}
		if direction == "up" {
			io.CopyN(io.Discard, reader, total)
			io.WriteString(conn, "done\n")
			return
		}
		io.CopyN(conn, endless{}, total)
	})
	for _, p := range players(b) {
		b.Run(p.name, func(b *testing.B) {
			for b.Loop() {
				for line := range strings.Lines(output(b, p, script{}, client(b), "bulk", "10.96.0.1:7020", "2000000000")) {
					var direction string
					var rate float64
					if _, err := fmt.Sscan(line, &direction, &rate); err != nil {
						b.Fatal(line)
					}
					b.ReportMetric(rate, direction+"-MB/s")
				}
			}
		})
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
