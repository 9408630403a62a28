package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"understudy.dev/understudy/operator/tunnel"
)

// ask connects from an address of the pod's network, as localRemote has it, and
// returns what the process in the stage says: peer and own address.
func ask(from, to string) (string, error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	if from != "" {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from + ":0"))
	}
	conn, err := dialer.Dial("tcp", to)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	said, err := io.ReadAll(conn)
	return strings.TrimSpace(string(said)), err
}

func TestIncomingConnections(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		w := welcome()
		w.Ports = []tunnel.Port{{Network: "tcp", Port: 18080}, {Network: "tcp", Port: 18081}, {Network: "udp", Port: 18082}, {Network: "tcp", Port: 18084}}
		taken, err := net.Listen("tcp", "127.0.0.1:18084")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		s := begin(t, command(t, p, script{Welcome: w, Directory: directory, Publish: true}, client(t), "listen",
			":18080", "127.0.0.1:18081", ":18082", "10.98.0.1:18084"))
		s.expect("listening on 10.98.0.1:18084")
		for port, want := range map[int]string{
			18080: "{Network:tcp Port:18080 Loopback:false Reach:cluster Why:<nil> Published:true Closed:false}",
			18081: "{Network:tcp Port:18081 Loopback:true Reach:pod Why:<nil> Published:true Closed:false}",
			18082: "{Network:tcp Port:18082 Loopback:false Reach:none Why:port 18082: " + tunnel.ErrForbidden.Error() + " Published:true Closed:false}",
			18084: "{Network:tcp Port:18084 Loopback:false Reach:cluster Why:<nil> Published:false Closed:false}",
		} {
			if got := "{" + logged(t, directory, fmt.Sprintf("listening {Network:tcp Port:%d ", port)); !strings.HasSuffix(want, strings.TrimPrefix(got, "{")) {
				t.Errorf("port %d: %s, want %s", port, got, want)
			}
		}
		if got := logged(t, directory, "notice port 18084"); !strings.Contains(got, "address already in use") {
			t.Errorf("of the taken port it is said: %s", got)
		}
		expect := func(what, from, to, wantPeer, wantOwn string) {
			t.Helper()
			said, err := ask(from, to)
			peer, own, _ := strings.Cut(said, " ")
			host, _, _ := net.SplitHostPort(peer)
			if err != nil || strings.TrimPrefix(host, "::ffff:") != wantPeer || own != wantOwn {
				t.Errorf("%s: the process says %q (%v), want peer %s and itself %s", what, said, err, wantPeer, wantOwn)
			}
		}
		expect("from another pod", "127.50.0.9", "127.98.0.1:18080", "10.50.0.9", "10.98.0.1:18080")
		expect("from another pod to the pod's address", "127.50.0.9", "127.98.0.1:18084", "10.50.0.9", "10.98.0.1:18084")
		expect("from the pod's own address", "127.98.0.1", "127.98.0.1:18080", "10.98.0.1", "10.98.0.1:18080")
		expect("from the pod's loopback to loopback", "127.97.0.1", "127.97.0.1:18081", "127.0.0.1", "127.0.0.1:18081")
		expect("from this machine", "", "127.0.0.1:18080", "127.0.0.1", "127.0.0.1:18080")
		expect("from this machine to loopback", "", "127.0.0.1:18081", "127.0.0.1", "127.0.0.1:18081")
		expect("from this machine to an undeclared port", "", "127.0.0.1:18082", "127.0.0.1", "127.0.0.1:18082")
		for _, shut := range []string{"127.98.0.1:18081", "127.98.0.1:18082", "127.97.0.1:18080", "127.97.0.1:18082"} {
			if said, err := ask("127.50.0.9", shut); err == nil {
				t.Errorf("%s can be reached in the cluster: %s", shut, said)
			}
		}

		// The ports are closed with the listeners.
		s.stdin.Close()
		s.exitCode()
		for _, gone := range []string{"127.98.0.1:18080", "127.97.0.1:18081", "127.0.0.1:18080"} {
			if said, err := ask("", gone); err == nil {
				t.Errorf("%s can still be reached: %s", gone, said)
			}
		}
	})
}

// Datagrams to a declared UDP port reach the process, which sees who sent them
// and whose answers get there; other sockets of UDP are nobody's business.
func TestIncomingDatagrams(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		w := welcome()
		w.Ports = []tunnel.Port{{Network: "udp", Port: 18100}, {Network: "udp", Port: 18101}, {Network: "udp", Port: 18102}, {Network: "tcp", Port: 18103}}
		s := begin(t, command(t, p, script{Welcome: w, Directory: directory}, client(t), "listen",
			"udp::18100", "udp:127.0.0.1:18101", "udp:10.98.0.1:18102", "udp::18103"))
		s.expect("listening on udp::18103")
		for port, reach := range map[int]string{18100: "Loopback:false Reach:cluster", 18101: "Loopback:true Reach:pod", 18102: "Loopback:false Reach:cluster"} {
			if got := logged(t, directory, fmt.Sprintf("listening {Network:udp Port:%d ", port)); !strings.HasPrefix(got, reach+" Why:<nil> Published:false") {
				t.Errorf("port %d: %s, want %s", port, got, reach)
			}
		}
		say := func(from, to string, size int) (string, error) {
			conn, err := (&net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}).Dial("udp", to)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(patience))
			answer := make([]byte, 100)
			var said string
			for range 3 {
				conn.Write(make([]byte, size))
				n, err := conn.Read(answer)
				if err != nil {
					return "", err
				}
				said = string(answer[:n])
			}
			return said, nil
		}
		for _, test := range []struct {
			from, to string
			size     int
			want     string
		}{
			{"127.50.0.9:18110", "127.98.0.1:18100", 5, "10.50.0.9:18110 5"},
			{"127.50.0.9:18111", "127.98.0.1:18100", 60_000, "10.50.0.9:18111 60000"},
			{"127.50.0.9:18110", "127.98.0.1:18102", 0, "10.50.0.9:18110 0"},
			{"127.97.0.1:18112", "127.97.0.1:18101", 7, "127.0.0.1:* 7"},
			{"127.98.0.1:18113", "127.98.0.1:18100", 8, "10.98.0.1:* 8"},
		} {
			said, err := say(test.from, test.to, test.size)
			host, rest, _ := strings.Cut(test.want, "*")
			if err != nil || !strings.HasPrefix(strings.TrimPrefix(strings.ReplaceAll(said, "[::ffff:", ""), "["), host[:len(host)-1]) || !strings.HasSuffix(said, rest) {
				t.Errorf("from %s to %s: the process says %q (%v), want %q", test.from, test.to, said, err, test.want)
			}
		}
		if said, err := say("127.50.0.9:18114", "127.98.0.1:18103", 1); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a UDP port that only TCP was declared for: %q, %v", said, err)
		}
		// The ports are closed with the sockets.
		s.stdin.Close()
		s.exitCode()
		if said, err := say("127.50.0.9:18115", "127.98.0.1:18100", 1); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after the end: %q, %v", said, err)
		}
	})
}

// A port is asked for where the process has it, no further; and one that moves
// is not in its own way.
func TestPortsAreOpenedWhereTheProcessListens(t *testing.T) {
	p := players(t)[0]
	directory := shared(t)
	w := welcome()
	w.ListenAll = true
	begin(t, command(t, p, script{Welcome: w, Directory: directory}, client(t), "listen",
		"tcp4:0.0.0.0:18120", "tcp6:[::]:18121", ":18122", "127.0.0.1:18123", "[::1]:18124", "10.98.0.1:18125", "[fd00:98::1]:18126"))
	for port, want := range map[int]string{
		18120: "false [0.0.0.0]", 18121: "false [::]", 18122: "false [0.0.0.0 ::]", 18123: "true [127.0.0.1]",
		18124: "true [::1]", 18125: "false [10.98.0.1]", 18126: "false [fd00:98::1]",
	} {
		if got := logged(t, directory, fmt.Sprintf("asked tcp %d ", port)); got != want {
			t.Errorf("port %d was asked for at %s, not %s", port, got, want)
		}
	}
}

// A process that stops listening on loopback and listens everywhere at once is
// not in its own way.
func TestAPortThatMoves(t *testing.T) {
	p := players(t)[0]
	directory := shared(t)
	w := welcome()
	w.ListenAll = true
	s := begin(t, command(t, p, script{Welcome: w, Directory: directory, Publish: true}, client(t), "move", "127.0.0.1:18127", "0.0.0.0:18127"))
	for range 10 {
		s.expect("listening on 127.0.0.1:18127")
		logged(t, directory, "listening {Network:tcp Port:18127 Loopback:true Reach:pod Why:<nil> Published:true")
		fmt.Fprintln(s.stdin)
		s.expect("listening on 0.0.0.0:18127")
		logged(t, directory, "listening {Network:tcp Port:18127 Loopback:false Reach:cluster Why:<nil> Published:true")
		said, err := os.ReadFile(directory + "/log")
		if err != nil || strings.Contains(string(said), "notice") || strings.Contains(string(said), "Why:listen") || strings.Contains(string(said), "in use") {
			t.Fatalf("%v; it is said:\n%s", err, said)
		}
		if err := os.Truncate(directory+"/log", 0); err != nil {
			t.Fatal(err)
		}
		s.mu.Lock()
		s.said.Reset()
		s.mu.Unlock()
		fmt.Fprintln(s.stdin)
	}
}

// When the listener of a process that lives on is gone, so is the port; a new
// welcome with other ports shuts and opens.
func TestPortsFollowListenersAndWelcomes(t *testing.T) {
	p := players(t)[0]
	directory := shared(t)
	w := welcome()
	w.Ports = []tunnel.Port{{Network: "tcp", Port: 18090}}
	s := begin(t, command(t, p, script{Welcome: w, Directory: directory}, client(t), "listen", ":18090", ":18091"))
	s.expect("listening on :18091")
	reach := func(address string, want bool) {
		t.Helper()
		eventually(t, func() error {
			if _, err := ask("127.50.0.9", address); (err == nil) != want {
				return fmt.Errorf("%s: %w", address, err)
			}
			return nil
		})
	}
	reach("127.98.0.1:18090", true)
	reach("127.98.0.1:18091", false)
	w.Ports = []tunnel.Port{{Network: "tcp", Port: 18091}}
	put(t, directory, "welcome", w)
	if got := logged(t, directory, "welcome "); got != "<nil>" {
		t.Fatal(got)
	}
	reach("127.98.0.1:18091", true)
	reach("127.98.0.1:18090", false)
}

// A new incarnation of the pod has another address, name and hosts.
func TestTheStageFollowsThePod(t *testing.T) {
	eachPlayer(t, func(t *testing.T, p player) {
		directory := shared(t)
		s := begin(t, command(t, p, script{Directory: directory}, "sh", "-c", "echo ready; read line; hostname; cat /etc/hosts; "+client(t)+" listen 10.98.0.2:18095"))
		s.expect("ready")
		w := welcome()
		w.Addresses, w.Hostname = []netip.Addr{netip.MustParseAddr("10.98.0.2")}, "worker-1"
		w.Files = []tunnel.File{{Path: "/etc/hosts", Mode: 0o444, Data: []byte("10.98.0.2 worker-1\n")}}
		put(t, directory, "welcome", w)
		if got := logged(t, directory, "welcome "); got != "<nil>" {
			t.Fatal(got)
		}
		fmt.Fprintln(s.stdin)
		s.expect("worker-1\n10.98.0.2 worker-1\nlistening on 10.98.0.2:18095")
	})
}

// What another container of the pod listens on is on 127.0.0.1 of the stage as
// well, unless something local is.
func TestThePodsLoopback(t *testing.T) {
	serve(t, "127.97.0.1:15000", func(conn *net.TCPConn) {
		all, _ := io.ReadAll(conn)
		fmt.Fprintf(conn, "sidecar got %s", all)
	})
	serve(t, "127.98.0.1:15002", func(conn *net.TCPConn) {
		io.Copy(io.Discard, conn)
		io.WriteString(conn, "at the pod's address")
	})
	serveUDP(t, "127.97.0.1:15001", same)
	endpoints := []tunnel.Endpoint{
		{Network: "tcp", Addr: netip.MustParseAddr("127.0.0.1"), Port: 15000},
		{Network: "tcp", Addr: netip.MustParseAddr("::1"), Port: 15000},
		{Network: "udp", Addr: netip.IPv4Unspecified(), Port: 15001},
		{Network: "tcp", Addr: netip.IPv6Unspecified(), Port: 15002},
		{Network: "tcp", Addr: netip.MustParseAddr("127.0.0.1"), Port: 15009}, // gone since
	}
	w := welcome()
	w.LoopbackPorts = endpoints
	eachPlayer(t, func(t *testing.T, p player) {
		for _, test := range []struct {
			name string
			args []string
			want string
		}{
			{"TCP", []string{"tcp", "127.0.0.1:15000"}, `"sidecar got hello"`},
			{"TCP over IPv6", []string{"tcp", "[::1]:15000"}, `"sidecar got hello"`},
			{"UDP", []string{"udp", "127.0.0.1:15001", "1000"}, "1000"},
			{"at the pod's own address", []string{"tcp", "10.98.0.1:15002"}, `"at the pod's address"`},
			{"no more there", []string{"tcp", "127.0.0.1:15009"}, "refused"},
			{"not the sidecar's", []string{"tcp", "127.0.0.1:15003"}, "refused"},
			{"a local listener, at once", []string{"lateLocal", "127.0.0.1:15000"}, "local"},
			{"a local listener, at once, over IPv6", []string{"lateLocal", "[::1]:15000"}, "local"},
		} {
			t.Run(test.name, func(t *testing.T) {
				if got := output(t, p, script{Welcome: w}, append([]string{client(t)}, test.args...)...); got != test.want {
					t.Errorf("got %s, want %s", got, test.want)
				}
			})
		}
		t.Run("one that begins later", func(t *testing.T) {
			directory := shared(t)
			s := begin(t, command(t, p, script{Directory: directory}, "sh", "-c", client(t)+" tcp 127.0.0.1:15000; read line; "+client(t)+" tcp 127.0.0.1:15000"))
			s.expect("refused")
			data, _ := json.Marshal(endpoints)
			put(t, directory, "loopback", data)
			if got := logged(t, directory, "loopback "); got != "<nil>" {
				t.Fatal(got)
			}
			fmt.Fprintln(s.stdin)
			s.expect("sidecar got hello")
		})
	})
}
