package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What a tunnel promises, over every kind of path.
func TestConformance(t *testing.T) {
	for name, over := range map[string]func(testing.TB) *path{
		"TCP":             overTCP,
		"unbuffered":      overPipes,
		"TCP, cut":        cutting(overTCP),
		"unbuffered, cut": cutting(overPipes),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, over(t))
			c := s.connect(s.clientConfig())
			for name, promise := range map[string]func(*testing.T, *stand, *Client){
				"welcome":                 promiseWelcome,
				"echo":                    promiseEcho,
				"half close":              promiseHalfClose,
				"refused":                 promiseRefused,
				"reset from the pod":      promiseResetFromPod,
				"reset from the owner":    promiseResetFromOwner,
				"close from the owner":    promiseCloseFromOwner,
				"lost peer":               promiseAbortedOpen,
				"datagrams":               promiseDatagrams,
				"listen":                  promiseListen,
				"listen for UDP":          promiseListenUDP,
				"listening refused":       promiseListenRefused,
				"listener closed":         promiseListenerClosed,
				"tree":                    promiseTree,
				"ready":                   promiseReady,
				"end":                     promiseEnd,
				"events, the last states": promiseEvents,
			} {
				t.Run(name, func(t *testing.T) { promise(t, s, c) })
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if !errors.Is(c.Err(), ErrClosed) {
				t.Errorf("ended with %v", c.Err())
			}
			if _, err := c.DialTCP(t.Context(), netip.MustParseAddrPort("127.0.0.1:1")); !errors.Is(err, ErrClosed) {
				t.Errorf("dialling after the end: %v", err)
			}
		})
	}
}

func promiseWelcome(t *testing.T, s *stand, c *Client) {
	if diff := cmp.Diff(podWelcome, c.Welcome(), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the welcome differs (-sent +got):\n%s", diff)
	}
	if c.LastHeard().IsZero() || time.Since(c.LastHeard()) > time.Minute {
		t.Errorf("last heard at %v", c.LastHeard())
	}
}

func promiseEcho(t *testing.T, s *stand, c *Client) {
	to := serveTCP(t, echoTCP)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			data := make([]byte, 300_000)
			rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			conn, err := c.DialTCP(t.Context(), to)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if conn.RemoteAddr().String() != to.String() {
				t.Errorf("remote address %v", conn.RemoteAddr())
			}
			go func() {
				conn.Write(data)
				conn.CloseWrite()
			}()
			got, err := io.ReadAll(conn)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d came back: %v", len(got), len(data), err)
			}
		})
	}
	group.Wait()
}

func promiseHalfClose(t *testing.T, s *stand, c *Client) {
	to := serveTCP(t, func(conn *net.TCPConn) {
		asked, _ := io.ReadAll(conn)
		conn.Write(append([]byte("you said "), asked...))
	})
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("hello"))
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "you said hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func promiseRefused(t *testing.T, s *stand, c *Client) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	_, err = c.DialTCP(t.Context(), listener.Addr().(*net.TCPAddr).AddrPort())
	if !errors.Is(err, ErrRefused) {
		t.Errorf("dialling where nobody listens: %v", err)
	}
}

func promiseResetFromPod(t *testing.T, s *stand, c *Client) {
	to := serveTCP(t, func(conn *net.TCPConn) {
		conn.Read(make([]byte, 1))
		conn.SetLinger(0)
	})
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte("x"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrReset) {
		t.Errorf("reading from a connection that was reset: %v", err)
	}
}

func promiseResetFromOwner(t *testing.T, s *stand, c *Client) {
	seen := make(chan error, 1)
	to := serveTCP(t, func(conn *net.TCPConn) {
		_, err := io.Copy(io.Discard, conn)
		seen <- err
	})
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	conn.Write([]byte("x"))
	conn.Reset()
	if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the pod's side read %v", err)
	}
}

// After Close what was sent arrives, and the pod's side cannot go on writing.
func promiseCloseFromOwner(t *testing.T, s *stand, c *Client) {
	read, wrote := make(chan []byte, 1), make(chan error, 1)
	to := serveTCP(t, func(conn *net.TCPConn) {
		all, _ := io.ReadAll(conn)
		read <- all
		for {
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				wrote <- err
				return
			}
		}
	})
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("z"), 100_000)
	conn.Write(data)
	conn.Close()
	if got := <-read; !bytes.Equal(got, data) {
		t.Errorf("%d bytes arrived of %d", len(got), len(data))
	}
	if err := <-wrote; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing ended with %v", err)
	}
}

func promiseAbortedOpen(t *testing.T, s *stand, c *Client) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.DialTCP(ctx, serveTCP(t, echoTCP)); !errors.Is(err, context.Canceled) {
		t.Errorf("dialling with a context that is done: %v", err)
	}
}

func promiseDatagrams(t *testing.T, s *stand, c *Client) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		packet := make([]byte, MaxDatagram)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			server.WriteTo(packet[:n], from)
		}
	}()
	conn, err := c.DialUDP(t.Context(), server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, size := range []int{5, 0, 1400, 9000, 65_000, 1} {
		sent := bytes.Repeat([]byte{byte(size)}, size)
		if _, err := conn.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, MaxDatagram)
		n, err := conn.Read(got)
		if err != nil || !bytes.Equal(got[:n], sent) {
			t.Errorf("a datagram of %d bytes came back as %d: %v", size, n, err)
		}
	}
	if _, err := conn.Write(make([]byte, MaxDatagram+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a datagram that is too large: %v", err)
	}
	server.Close()
	conn.Write([]byte("anybody?"))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrRefused) {
		t.Errorf("reading where nobody listens: %v", err)
	}
}

func promiseListen(t *testing.T, s *stand, c *Client) {
	l, err := c.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if conn.RemoteAddr().String() != peer.LocalAddr().String() || conn.LocalAddr().String() != l.Addr().String() {
			t.Errorf("from %v to %v, not from %v to %v", conn.RemoteAddr(), conn.LocalAddr(), peer.LocalAddr(), l.Addr())
		}
		go func() {
			io.Copy(conn, conn)
			conn.Close()
		}()
		peer.Write([]byte("ping"))
		peer.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(peer); string(got) != "ping" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		peer.Close()
	}
}

// Each peer of a UDP port is a flow, with its own address, and ends with the
// port.
func promiseListenUDP(t *testing.T, s *stand, c *Client) {
	l, err := c.Listen(t.Context(), ListenRequest{Network: "udp"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var flows []net.Conn
	for i := range 3 {
		peer, err := net.Dial("udp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		peer.SetDeadline(time.Now().Add(20 * time.Second))
		for _, question := range []string{fmt.Sprintf("question of %d", i), "", "another"} {
			peer.Write([]byte(question))
		}
		conn, err := l.AcceptFlow()
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, conn)
		if conn.RemoteAddr().String() != peer.LocalAddr().String() || conn.LocalAddr().String() != l.Addr().String() {
			t.Errorf("a flow of %v to %v, not of %v to %v", conn.RemoteAddr(), conn.LocalAddr(), peer.LocalAddr(), l.Addr())
		}
		answer := make([]byte, 100)
		for _, want := range []string{fmt.Sprintf("question of %d", i), "", "another"} {
			if n, err := conn.Read(answer); err != nil || string(answer[:n]) != want {
				t.Errorf("%q arrived, %v; not %q", answer[:n], err, want)
			}
		}
		conn.Write([]byte("answer"))
		if n, err := peer.Read(answer); err != nil || string(answer[:n]) != "answer" {
			t.Errorf("%q came back, %v", answer[:n], err)
		}
	}
	l.Close()
	for _, conn := range flows {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a flow ended with its port by %v", err)
		}
	}
	if _, err := l.AcceptFlow(); !errors.Is(err, ErrClosed) {
		t.Errorf("accepting after the end: %v", err)
	}
}

func promiseListenRefused(t *testing.T, s *stand, c *Client) {
	if _, err := c.Listen(t.Context(), ListenRequest{Network: "tcp", Port: 1}); !errors.Is(err, ErrForbidden) {
		t.Errorf("a port that may not be opened: %v", err)
	}
	taken := serveTCP(t, echoTCP)
	if _, err := c.Listen(t.Context(), ListenRequest{Network: "tcp", Port: taken.Port()}); !errors.Is(err, ErrInUse) {
		t.Errorf("a port that is taken: %v", err)
	}
}

// When a listener is closed its port is, and connections already there live on.
func promiseListenerClosed(t *testing.T, s *stand, c *Client) {
	l, err := c.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l.Close()
	if _, err := l.Accept(); !errors.Is(err, ErrClosed) {
		t.Errorf("accepting after Close: %v", err)
	}
	eventually(t, "the port is closed", func() bool {
		another, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			another.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	conn.Write([]byte("still here"))
	conn.CloseWrite()
	if got, err := io.ReadAll(peer); string(got) != "still here" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func promiseTree(t *testing.T, s *stand, c *Client) {
	files := []File{
		{Path: "a", Mode: 0o644, Data: []byte("one")},
		{Path: "sub/b", Mode: 0o600, Data: bytes.Repeat([]byte("x"), 500_000)},
		{Path: "empty", Mode: 0o444},
	}
	s.pod.mu.Lock()
	s.pod.tree["/etc/config"] = files
	s.pod.tree["/huge"] = []File{{Path: "f", Data: make([]byte, MaxFileSize+1)}}
	s.pod.torn = 2
	s.pod.mu.Unlock()
	tree, err := c.ReadTree(t.Context(), "/etc/config")
	if diff := cmp.Diff(Tree{Version: "v1", Files: files}, tree, cmp.Comparer(bytes.Equal)); diff != "" || err != nil {
		t.Errorf("the tree differs (-sent +got): %v\n%s", err, diff)
	}
	if _, err := c.ReadTree(t.Context(), "/etc/shadow"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a mount that is none: %v", err)
	}
	if _, err := c.ReadTree(t.Context(), "/huge"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a file that is too large: %v", err)
	}
}

func promiseReady(t *testing.T, s *stand, c *Client) {
	for _, value := range []bool{true, false, true} {
		if err := c.SetReady(t.Context(), value); err != nil {
			t.Fatal(err)
		}
		if is, _ := s.pod.lastReady(); is != value {
			t.Errorf("ready is %v, not %v", is, value)
		}
	}
}

func promiseEnd(t *testing.T, s *stand, c *Client) {
	before := s.pod.toldToEnd()
	for range 2 {
		if err := c.End(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if told := s.pod.toldToEnd() - before; told != 2 {
		t.Errorf("the agent was told %d times", told)
	}
}

func promiseEvents(t *testing.T, s *stand, c *Client) {
	ports := []Endpoint{{Network: "tcp", Addr: netip.MustParseAddr("127.0.0.1"), Port: 5432}}
	mounts := func(v string) []Mount { return []Mount{{Path: "/etc/config", Version: v}} }
	s.pod.events <- Event{LoopbackPorts: ports}
	s.pod.events <- Event{Mounts: mounts("2")}
	s.pod.events <- Event{Mounts: mounts("3")}
	var got Event
	for got.LoopbackPorts == nil || got.Mounts == nil || got.Mounts[0].Version != "3" {
		select {
		case event := <-c.Events():
			if event.LoopbackPorts != nil {
				got.LoopbackPorts = event.LoopbackPorts
			}
			if event.Mounts != nil {
				got.Mounts = event.Mounts
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("got only %+v", got)
		}
	}
	if diff := cmp.Diff(ports, got.LoopbackPorts, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

// eventually waits for a condition that another process brings about.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}
