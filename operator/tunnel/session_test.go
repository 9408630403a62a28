package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"understudy.dev/understudy/operator/tunnel/replay"
)

func TestKeysAreProvedBothWays(t *testing.T) {
	s := newStand(t, overTCP(t))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()

	stranger := s.clientConfig()
	stranger.Key = newECDSA(t)
	if _, err := Connect(ctx, stranger); !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), "refuses this end's key") {
		t.Errorf("an owner of another key: %v", err)
	}
	impostor := s.clientConfig()
	impostor.Target = func(ctx context.Context) (net.Conn, string, error) {
		conn, _, err := s.target(ctx)
		return conn, Fingerprint(public(t, newECDSA(t))), err
	}
	if _, err := Connect(ctx, impostor); !errors.Is(err, ErrIdentity) || !strings.Contains(err.Error(), "expected") {
		t.Errorf("an agent of another key: %v", err)
	}
	other := s.clientConfig()
	other.Session = "uid-2"
	if _, err := Connect(ctx, other); !errors.Is(err, ErrSession) || !strings.Contains(err.Error(), "uid-1, not uid-2") {
		t.Errorf("another session: %v", err)
	}
	if _, n := s.pod.lastReady(); n > 1 {
		t.Errorf("the pod was told %d times", n)
	}
	s.connect(s.clientConfig())
}

// Another version is final, and either end names both.
func TestVersionMismatch(t *testing.T) {
	s := newStand(t, overTCP(t))
	config := s.clientConfig()
	config.Target = func(ctx context.Context) (net.Conn, string, error) {
		near, far := net.Pipe()
		key := newECDSA(t)
		go func() {
			own, _ := selfSigned(key)
			conn, err := secureServer(far, own, Fingerprint(public(t, s.owner)))
			if err != nil {
				return
			}
			defer conn.Close()
			hello := make([]byte, 30)
			if _, err := io.ReadFull(conn, hello); err != nil {
				return
			}
			conn.Write([]byte{'U', 'N', 'D', 'Y', 200, 1, 0, 0, 0, 0, 0, 0, 0, 0})
		}()
		return near, Fingerprint(public(t, key)), nil
	}
	_, err := Connect(t.Context(), config)
	if err == nil || !strings.Contains(err.Error(), "version 1") || !strings.Contains(err.Error(), "version 200") {
		t.Errorf("got %v", err)
	}

	// And the agent, of an owner's end that is ahead of it.
	conn, fingerprint, err := s.target(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own, _ := selfSigned(s.owner)
	ahead, err := secure(t.Context(), conn, pinned(own, fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	defer ahead.Close()
	ahead.Write(append([]byte{'U', 'N', 'D', 'Y', 201, 1}, make([]byte, 24)...))
	reply := make([]byte, 14)
	if _, err := io.ReadFull(ahead, reply); err != nil || reply[4] != Version || reply[5] != byte(replay.StatusVersion) {
		t.Errorf("the agent answered %x, %v", reply, err)
	}
}

// breaker is a path whose connections can be broken and kept from coming back.
type breaker struct {
	mu    sync.Mutex
	conns []net.Conn
	shut  bool
}

func (b *breaker) wrap(p *path) *path {
	dial := p.dial
	return &path{listen: p.listen, dial: func(ctx context.Context) (net.Conn, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.shut {
			return nil, errors.New("the road is closed")
		}
		conn, err := dial(ctx)
		if err == nil {
			b.conns = append(b.conns, conn)
		}
		return conn, err
	}}
}

// set closes or opens the road; closing breaks what is on it.
func (b *breaker) set(shut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = shut
	if shut {
		for _, conn := range b.conns {
			conn.Close()
		}
		b.conns = nil
	}
}

// A connection, a listener and readiness live on through an outage.
func TestOutageIsOnlyADelay(t *testing.T) {
	var road breaker
	s := newStand(t, road.wrap(overTCP(t)))
	links := make(chan bool, 1000)
	restarted := make(chan Welcome, 1)
	config := s.clientConfig()
	config.OnLink = func(up bool, err error) {
		if up != (err == nil) {
			t.Errorf("up is %v with %v", up, err)
		}
		links <- up
	}
	config.OnRestart = func(w Welcome) { restarted <- w }
	c := s.connect(config)
	conn, err := c.DialTCP(t.Context(), serveTCP(t, echoTCP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := c.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReady(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if up := <-links; !up {
		t.Error("first the link is down")
	}

	road.set(true)
	for up := true; up; up = <-links {
	}
	conn.Write([]byte("written while the road is closed"))
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("the port was closed: %v", err)
	}
	defer peer.Close()
	road.set(false)
	for up := false; !up; up = <-links {
	}
	got := make([]byte, 32)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "written while the road is closed" {
		t.Errorf("%q, %v", got, err)
	}
	in, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	if is, n := s.pod.lastReady(); !is || n != 1 {
		t.Errorf("ready is %v after %d words", is, n)
	}
	select {
	case <-restarted:
		t.Error("the tunnel began anew")
	default:
	}
}

// A new agent with a new key: what was open ends, and the tunnel begins anew.
func TestNewAgent(t *testing.T) {
	s := newStand(t, overTCP(t))
	restarted := make(chan Welcome, 1)
	config := s.clientConfig()
	config.OnRestart = func(w Welcome) { restarted <- w }
	c := s.connect(config)
	to := serveTCP(t, echoTCP)
	conn, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	s.halt()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrReset) {
		t.Errorf("the connection ended with %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, ErrClosed) {
		t.Errorf("the listener ended with %v", err)
	}
	s.start()
	if w := <-restarted; w.Hostname != podWelcome.Hostname {
		t.Errorf("greeted with %+v", w)
	}
	again, err := c.DialTCP(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	again.Write([]byte("x"))
	if _, err := again.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

// A second owner's end with the same key ends the first for good.
func TestSuperseded(t *testing.T) {
	s := newStand(t, overTCP(t))
	first := s.connect(s.clientConfig())
	l, err := first.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	second := s.connect(s.clientConfig())
	<-first.Done()
	if !errors.Is(first.Err(), ErrSuperseded) {
		t.Errorf("the first ended with %v", first.Err())
	}
	// The port is free for the second as soon as that has its welcome.
	again, err := second.Listen(t.Context(), ListenRequest{Network: "tcp", Port: l.Addr().Port()})
	if err != nil {
		t.Fatalf("opening the same port: %v", err)
	}
	again.Close()
}

// An owner that is gone without a word: the agent closes everything when the
// lease has run out, and not before.
func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var road breaker
		p := road.wrap(overPipes(t))
		s := &stand{t: t, path: p, pod: newPod(), owner: newEd25519(t)}
		s.config = ServerConfig{ClientKey: public(t, s.owner), Session: "uid-1", Handler: s.pod, Lease: 60 * time.Second}
		s.start()
		c, err := Connect(t.Context(), s.clientConfig())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetReady(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // the bubble's time
		if is, _ := s.pod.lastReady(); !is {
			t.Fatal("cut off although it was there")
		}
		if silent := time.Since(c.LastHeard()); silent > 2*time.Second {
			t.Errorf("last heard %v ago", silent)
		}
		road.set(true)
		time.Sleep(58 * time.Second)
		if is, _ := s.pod.lastReady(); !is {
			t.Error("cut off before the lease had run out")
		}
		if silent := time.Since(c.LastHeard()); silent < 58*time.Second {
			t.Errorf("last heard %v ago", silent)
		}
		if silent := c.Unanswered(); silent < 58*time.Second || silent > 61*time.Second {
			t.Errorf("unanswered for %v", silent)
		}
		time.Sleep(3 * time.Second)
		if is, _ := s.pod.lastReady(); is {
			t.Error("still ready after the lease had run out")
		}
		// It can come back, and begins anew.
		road.set(false)
		time.Sleep(5 * time.Second)
		if err := c.SetReady(t.Context(), true); err != nil {
			t.Error(err)
		}
		c.Close()
		s.halt()
		synctest.Wait()
	})
}

// Bye closes all at once, connections with a reset.
func TestBye(t *testing.T) {
	s := newStand(t, overTCP(t))
	c := s.connect(s.clientConfig())
	ended := make(chan error, 1)
	conn, err := c.DialTCP(t.Context(), serveTCP(t, func(conn *net.TCPConn) {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}))
	if err != nil {
		t.Fatal(err)
	}
	l, err := c.Listen(t.Context(), ListenRequest{Network: "tcp"})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReady(t.Context(), true)
	c.Close()
	if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the pod's side ended with %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("the owner's side ended with %v", err)
	}
	eventually(t, "the port is closed", func() bool {
		another, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			another.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	eventually(t, "the pod is not ready", func() bool { is, _ := s.pod.lastReady(); return !is })
	if _, open := <-c.Events(); open {
		t.Error("the events go on")
	}
}

// An idle flow ends, one with traffic in one direction does not.
func TestFlowIdle(t *testing.T) {
	s := newStand(t, overTCP(t))
	s.halt()
	s.config.FlowIdle = 200 * time.Millisecond
	s.start()
	c := s.connect(s.clientConfig())
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := c.DialUDP(t.Context(), server.LocalAddr().(*net.UDPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 10 {
		<-tick.C
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatalf("ended after %v in use: %v", time.Since(began), err)
		}
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle, it ended with %v", err)
	}
}

// Before the hello nothing is served.
func TestNothingBeforeHello(t *testing.T) {
	s := newStand(t, overTCP(t))
	o := &owner{config: s.config}
	header := must(encodeHeader(kindTCP, dial{To: netip.MustParseAddrPort("127.0.0.1:1")}))
	if err := o.serve(t.Context(), func() {}, nil, header); !errors.Is(err, ErrProtocol) {
		t.Errorf("got %v", err)
	}
}
