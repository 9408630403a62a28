package tunnel

import (
	"context"
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"understudy.dev/understudy/operator/tunnel/mux"
	"understudy.dev/understudy/operator/tunnel/replay"
)

// Handler is what the agent's end does for its owner. Each ctx ends when the
// owner is gone or has stopped waiting. Errors are told to the owner: those of
// this package and of the operating system as themselves, others as text.
type Handler interface {
	// Welcome describes the pod.
	Welcome(ctx context.Context) (Welcome, error)
	// Watch calls changed, which may wait, until ctx is done.
	Watch(ctx context.Context, changed func(Event) error) error
	// DialTCP connects from the pod's network.
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// DialUDP opens a connected UDP socket in the pod's network.
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Listen opens a TCP port; the Server closes it.
	Listen(ctx context.Context, request ListenRequest) (net.Listener, error)
	// ReadTree hands each file of a mount to file, and returns the version of
	// what it has read: ErrChanging if that is not one version.
	ReadTree(ctx context.Context, mount string, file func(File) error) (version string, err error)
	// SetReady is told by the owner, and false when the owner is gone.
	SetReady(ready bool)
}

// UDPHandler is a Handler that opens UDP ports, too.
type UDPHandler interface {
	// ListenUDP opens a port, as one socket or several; the Server closes them.
	ListenUDP(ctx context.Context, request ListenRequest) ([]UDPSocket, error)
}

// EndHandler is a Handler that has something to give back before the cluster
// asks for it.
type EndHandler interface {
	// End is told when nothing of the owner's uses the pod any more. It returns at
	// once, and may be called again.
	End()
}

// UDPSocket is an open UDP port of the pod. ReadFrom is for one goroutine,
// WriteTo for many.
type UDPSocket interface {
	// ReadFrom waits for the next datagram: whose it is, and to which of the
	// pod's addresses it was sent.
	ReadFrom(p []byte) (n int, peer, at netip.AddrPort, err error)
	// WriteTo answers peer from there.
	WriteTo(p []byte, peer, at netip.AddrPort) error
	// LocalAddr is where the port is open.
	LocalAddr() netip.AddrPort
	Close() error
}

// ServerConfig is all that the agent's end needs.
type ServerConfig struct {
	// Key is the agent's private key. Required.
	Key crypto.Signer
	// ClientKey is the owner's public key, PKIX DER. Required.
	ClientKey []byte
	// Session is the UID of the Session served.
	Session string
	// Handler is required.
	Handler Handler
	// Lease after which an owner that is not heard of is cut off, with all
	// that is open for it. Default DefaultLease.
	Lease time.Duration
	// FlowIdle after which a UDP flow without traffic ends. Default 2 min, as
	// the kernel's connection tracking has it.
	FlowIdle time.Duration
	// PingEvery and DeadAfter as in ClientConfig.
	PingEvery, DeadAfter time.Duration
	// Log of what no caller is told. Default: discarded.
	Log *slog.Logger
}

const (
	// The agent's windows: 1,000 connections that all stand still with their
	// windows full are 8 MiB, and busy ones share 4 MiB more.
	serverWindow    = 8 << 10
	serverMaxWindow = 1 << 20
	serverBudget    = 4 << 20
	// handshakes that may be in progress at a time.
	handshakes = 8
	// remembered links that were superseded, to tell their owners so.
	remembered = 16
)

// Server is the agent's end. It serves one owner at a time.
type Server struct {
	config ServerConfig
	tls    *tls.Config
	slots  chan struct{}

	// taking is held while one owner takes another's place.
	taking sync.Mutex

	mu     sync.Mutex
	owner  *owner
	past   []replay.ID
	closed bool
	group  sync.WaitGroup
}

// NewServer prepares the agent's end.
func NewServer(config ServerConfig) (*Server, error) {
	own, err := selfSigned(config.Key)
	if err != nil {
		return nil, err
	}
	if config.Lease <= 0 {
		config.Lease = DefaultLease
	}
	if config.FlowIdle <= 0 {
		config.FlowIdle = 2 * time.Minute
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		config: config,
		tls:    pinned(own, Fingerprint(config.ClientKey)),
		slots:  make(chan struct{}, handshakes),
	}, nil
}

// Serve takes raw connections from listener until ctx is done; it then closes
// everything, tells the owner so, and returns nil. It closes listener.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	defer s.shutdown()
	for {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		raw, err := listener.Accept()
		if err != nil {
			<-s.slots
			if ctx.Err() != nil {
				return nil
			}
			if statusOf(err) == statusBusy && backoff(ctx, 0) == nil {
				continue
			}
			return fmt.Errorf("accepting the owner's connections: %w", err)
		}
		s.group.Go(func() {
			defer func() { <-s.slots }()
			if err := s.handshake(ctx, raw); err != nil {
				s.config.Log.Warn("owner's connection not taken", "error", err)
			}
		})
	}
}

// Silent is how long nothing has arrived from the owner; false when there is
// none.
func (s *Server) Silent() (time.Duration, bool) {
	s.mu.Lock()
	now := s.owner
	s.mu.Unlock()
	if now == nil {
		return 0, false
	}
	return now.link.Silent(), true
}

func (s *Server) shutdown() {
	s.mu.Lock()
	s.closed = true
	last := s.owner
	s.mu.Unlock()
	if last != nil {
		last.end(replay.ReasonShutdown)
	}
	s.group.Wait()
}

// handshake takes one raw connection as far as its link.
func (s *Server) handshake(ctx context.Context, raw net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	raw.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Now()) })
	defer stop()
	conn, err := s.secure(ctx, raw)
	if err != nil {
		return err
	}
	hello, err := replay.ReadHello(conn)
	if err != nil {
		if _, ok := errors.AsType[*VersionError](err); ok {
			_ = replay.Refuse(conn, replay.StatusVersion)
		}
		hangUp(raw)
		return fmt.Errorf("reading the owner's hello: %w", err)
	}
	if !stop() {
		raw.Close()
		return context.Cause(ctx)
	}
	if hello.Op == replay.OpResume {
		return s.resume(conn, hello)
	}
	return s.begin(conn, hello)
}

// secure is the TLS handshake; a refused peer is given time to read why.
func (s *Server) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	below := &gathering{Conn: raw}
	conn := tls.Server(below, s.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		hangUp(raw)
		return nil, fmt.Errorf("proving both ends' keys: %w", err)
	}
	return secured{conn, below}, nil
}

// hangUp closes raw so that what was written last is not lost to a reset: a
// close with unread input would send one.
func hangUp(raw net.Conn) {
	raw.SetDeadline(time.Now().Add(time.Second))
	if half, ok := raw.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		var scrap [512]byte
		for range 64 {
			if _, err := raw.Read(scrap[:]); err != nil {
				break
			}
		}
	}
	raw.Close()
}

func (s *Server) resume(conn net.Conn, hello replay.Hello) error {
	s.mu.Lock()
	now := s.owner
	status := replay.StatusUnknown
	for _, id := range s.past {
		if id == hello.ID {
			status = replay.StatusSuperseded
		}
	}
	s.mu.Unlock()
	if now != nil && now.link.ID() == hello.ID && status == replay.StatusUnknown {
		if err := now.link.Accept(conn, hello); err != nil {
			return err
		}
		s.config.Log.Info("owner resumed")
		return nil
	}
	_ = replay.Refuse(conn, status)
	return conn.Close()
}

// begin ends the owner of now, if any, and begins another.
func (s *Server) begin(conn net.Conn, hello replay.Hello) error {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.mu.Lock()
	last := s.owner
	if last != nil {
		s.past = append(s.past, last.link.ID())
		s.past = s.past[max(0, len(s.past)-remembered):]
	}
	s.mu.Unlock()
	if last != nil {
		s.config.Log.Info("owner superseded")
		last.end(replay.ReasonSuperseded)
	}
	next := s.newOwner(hello.ID)
	if err := next.link.Accept(conn, hello); err != nil {
		next.link.Fail(err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		next.link.Fail(ErrClosed)
		return ErrClosed
	}
	s.owner = next
	s.group.Go(func() {
		next.run()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.owner == next {
			s.owner = nil
		}
	})
	s.config.Log.Info("owner connected")
	return nil
}

// newOwner makes the link of one incarnation of the owner's end.
func (s *Server) newOwner(id replay.ID) *owner {
	o := &owner{
		config: s.config,
		link:   replay.New(id, replay.Config{PingEvery: s.config.PingEvery, DeadAfter: s.config.DeadAfter}),
		done:   make(chan struct{}),
		opened: make(chan struct{}, MaxStreams),
		flows:  make(chan struct{}, maxFlows),
		files:  make(chan struct{}, MaxOpenFiles),
	}
	o.ctx, o.cancel = context.WithCancelCause(context.Background())
	return o
}

// muxConfig of the agent's end.
func (o *owner) muxConfig() mux.Config {
	return mux.Config{
		Window:     serverWindow,
		MaxWindow:  serverMaxWindow,
		Budget:     serverBudget,
		MaxStreams: MaxStreams,
		Accept:     o.accept,
	}
}
