package tunnel

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// pod is an honest Handler: this machine's loopback is its network, and its
// files are in memory.
type pod struct {
	events chan Event

	mu    sync.Mutex
	ready []bool
	// ended is how often it was told that it is over.
	ended int
	tree  map[string][]File
	// torn is how many reads of a tree find it changing.
	torn  int
	conns []net.Conn
	ports []net.Listener
}

func newPod() *pod { return &pod{events: make(chan Event), tree: map[string][]File{}} }

var podWelcome = Welcome{
	Hostname:    "worker-7d",
	Addresses:   []netip.Addr{netip.MustParseAddr("10.1.2.3")},
	Environment: []string{"A=1", "B=two words"},
	WorkingDir:  "/app",
	Files:       []File{{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n")}},
	Mounts:      []Mount{{Path: "/etc/config", Version: "1"}},
	Ports:       []Port{{Network: "tcp", Port: 8080, Why: "declared"}},
}

func (p *pod) Welcome(context.Context) (Welcome, error) { return podWelcome, nil }

func (p *pod) Watch(ctx context.Context, changed func(Event) error) error {
	for {
		select {
		case event := <-p.events:
			if err := changed(event); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (p *pod) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.String())
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.conns = append(p.conns, conn)
	}
	return conn, err
}

func (p *pod) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "udp", to.String())
}

func (p *pod) Listen(ctx context.Context, request ListenRequest) (net.Listener, error) {
	if request.Port == 1 {
		return nil, ErrForbidden
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), request.Port).String())
	if err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ports = append(p.ports, listener)
	}
	return listener, err
}

func (p *pod) ListenUDP(context.Context, ListenRequest) ([]UDPSocket, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		return nil, err
	}
	return []UDPSocket{udpSocket{conn}}, nil
}

// udpSocket is bound to one address.
type udpSocket struct{ *net.UDPConn }

func (s udpSocket) ReadFrom(p []byte) (n int, peer, at netip.AddrPort, err error) {
	n, peer, err = s.ReadFromUDPAddrPort(p)
	return n, peer, s.LocalAddr(), err
}

func (s udpSocket) WriteTo(p []byte, peer, _ netip.AddrPort) error {
	_, err := s.WriteToUDPAddrPort(p, peer)
	return err
}

func (s udpSocket) LocalAddr() netip.AddrPort { return addrPort(s.UDPConn.LocalAddr()) }

func (p *pod) ReadTree(ctx context.Context, mount string, file func(File) error) (string, error) {
	p.mu.Lock()
	files, known := p.tree[mount]
	torn := p.torn > 0
	p.torn--
	p.mu.Unlock()
	if !known {
		return "", ErrNotFound
	}
	for _, f := range files {
		if err := file(f); err != nil {
			return "", err
		}
	}
	if torn {
		return "", ErrChanging
	}
	return "v1", nil
}

func (p *pod) SetReady(ready bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, ready)
}

func (p *pod) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended++
}

func (p *pod) toldToEnd() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ended
}

func (p *pod) lastReady() (bool, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ready) == 0 {
		return false, 0
	}
	return p.ready[len(p.ready)-1], len(p.ready)
}

func newECDSA(t testing.TB) crypto.Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newEd25519(t testing.TB) crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func public(t testing.TB, key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// path is how raw connections get from the owner to the agent.
type path struct {
	dial   func(ctx context.Context) (net.Conn, error)
	listen func() net.Listener
}

// overTCP is the machine's own loopback.
func overTCP(t testing.TB) *path {
	p := &path{}
	var mu sync.Mutex
	addr := ""
	p.listen = func() net.Listener {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		addr = listener.Addr().String()
		return listener
	}
	p.dial = func(ctx context.Context) (net.Conn, error) {
		mu.Lock()
		to := addr
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}
	return p
}

// pipes has no buffers at all: each write waits for its reader.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func overPipes(testing.TB) *path {
	var mu sync.Mutex
	var current *pipes
	return &path{
		listen: func() net.Listener {
			mu.Lock()
			defer mu.Unlock()
			current = &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
			return current
		},
		dial: func(ctx context.Context) (net.Conn, error) {
			mu.Lock()
			to := current
			mu.Unlock()
			near, far := net.Pipe()
			select {
			case to.conns <- far:
				return near, nil
			case <-to.closed:
				return nil, errors.New("nobody listens")
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}
}

// cutting breaks each connection of another path after a random number of bytes.
func cutting(under func(testing.TB) *path) func(testing.TB) *path {
	return func(t testing.TB) *path {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		random := mathrand.New(mathrand.NewPCG(seed, 0))
		var mu sync.Mutex
		p := under(t)
		dial := p.dial
		p.dial = func(ctx context.Context) (net.Conn, error) {
			conn, err := dial(ctx)
			mu.Lock()
			defer mu.Unlock()
			return &cutConn{Conn: conn, left: 4_000 + random.IntN(1<<(10+random.IntN(11)))}, err
		}
		return p
	}
}

type cutConn struct {
	net.Conn
	mu   sync.Mutex
	left int
}

var errCut = errors.New("cut")

func (c *cutConn) take(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.left)
	c.left -= n
	return n
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if k := c.take(n); k < n {
		c.Close()
		return k, errCut
	}
	return n, err
}

func (c *cutConn) Write(p []byte) (int, error) {
	k := c.take(len(p))
	n, err := c.Conn.Write(p[:k])
	if err == nil && k < len(p) {
		c.Close()
		return n, errCut
	}
	return n, err
}

// stand is a running agent and what an owner needs to reach it.
type stand struct {
	t      testing.TB
	path   *path
	pod    *pod
	owner  crypto.Signer
	config ServerConfig

	mu     sync.Mutex
	key    crypto.Signer
	stop   context.CancelFunc
	served chan error
}

func newStand(t testing.TB, p *path) *stand {
	s := &stand{t: t, path: p, pod: newPod(), owner: newEd25519(t)}
	s.config = ServerConfig{ClientKey: public(t, s.owner), Session: "uid-1", Handler: s.pod}
	s.start()
	t.Cleanup(func() { s.halt() })
	return s
}

// start begins a new agent with a new key.
func (s *stand) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = newECDSA(s.t)
	config := s.config
	config.Key = s.key
	server, err := NewServer(config)
	if err != nil {
		s.t.Fatal(err)
	}
	listener := s.path.listen()
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	served := make(chan error, 1)
	s.served = served
	go func() { served <- server.Serve(ctx, listener) }()
}

func (s *stand) halt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	if err := <-s.served; err != nil {
		s.t.Errorf("the agent ended with %v", err)
	}
	s.served <- nil
}

func (s *stand) target(ctx context.Context) (net.Conn, string, error) {
	conn, err := s.path.dial(ctx)
	if err != nil {
		return nil, "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return conn, Fingerprint(public(s.t, s.key)), nil
}

func (s *stand) clientConfig() ClientConfig {
	return ClientConfig{Target: s.target, Key: s.owner, Session: "uid-1"}
}

func (s *stand) connect(config ClientConfig) *Client {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	client, err := Connect(ctx, config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	return client
}

// serveTCP runs a server of the pod's network for the length of the test.
func serveTCP(t testing.TB, serve func(*net.TCPConn)) netip.AddrPort {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		group.Wait()
	})
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

func echoTCP(conn *net.TCPConn) { io.Copy(conn, conn) }

// secureServer is the other side of secure, for an agent that misbehaves.
func secureServer(raw net.Conn, own tls.Certificate, fingerprint string) (net.Conn, error) {
	conn := tls.Server(raw, pinned(own, fingerprint))
	return conn, conn.Handshake()
}
