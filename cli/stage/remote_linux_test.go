package stage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"understudy.dev/understudy/operator/tunnel"
)

// localRemote is a pod's network made of this machine's loopback: 10.a.b.c is
// 127.a.b.c, fd00:a::c is 127.a.6.c, and the pod's own loopback is 127.97.0.1.
// What cannot be had there is said: 10.99.0.1 cannot be reached, 10.99.0.2
// never answers.
type localRemote struct {
	trees     map[string]tunnel.Tree
	directory string
}

// tooLarge is the version of a tree that cannot be read as a whole.
const tooLarge = "too large"

var (
	unreachable4 = netip.MustParseAddr("10.99.0.1")
	unreachable6 = netip.MustParseAddr("fd00:99::1")
	silent4      = netip.MustParseAddr("10.99.0.2")
)

func here(addr netip.Addr) netip.Addr {
	switch {
	case addr.IsLoopback():
		return netip.AddrFrom4([4]byte{127, 97, 0, 1})
	case addr.Is4():
		four := addr.As4()
		return netip.AddrFrom4([4]byte{127, four[1], four[2], four[3]})
	}
	six := addr.As16()
	// fd00:98:: is written in decimal digits.
	return netip.AddrFrom4([4]byte{127, six[3]>>4*10 + six[3]&15, 6, six[15]})
}

// there is the pod's name for who is here.
func there(address net.Addr) net.Addr {
	to := address.(*net.TCPAddr).AddrPort()
	four := to.Addr().Unmap().As4()
	if four[1] == 97 {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port()))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, four[1], four[2], four[3]}), to.Port()))
}

func (localRemote) DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	switch to.Addr() {
	case unreachable4, unreachable6:
		return nil, fmt.Errorf("dialing: %w", tunnel.ErrUnreachable)
	case silent4:
		<-ctx.Done()
		return nil, tunnel.ErrTimeout
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", netip.AddrPortFrom(here(to.Addr()), to.Port()).String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("dialing: %w", tunnel.ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	return remoteConn{socket{conn.(*net.TCPConn)}, conn.LocalAddr(), conn.RemoteAddr()}, nil
}

func (localRemote) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if to.Addr() == unreachable4 {
		return nil, tunnel.ErrUnreachable
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "udp", netip.AddrPortFrom(here(to.Addr()), to.Port()).String())
}

func (r localRemote) Listen(ctx context.Context, request tunnel.ListenRequest) (Listener, error) {
	at := here(podAddresses[0])
	if request.Loopback {
		at = here(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if r.directory != "" {
		said := fmt.Sprintf("asked %s %d %v %v\n", request.Network, request.Port, request.Loopback, request.Addrs)
		file, err := os.OpenFile(r.directory+"/log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
		if err == nil {
			io.WriteString(file, said)
			file.Close()
		}
	}
	if request.Network == "udp" {
		return listenFlows(netip.AddrPortFrom(at, request.Port))
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", netip.AddrPortFrom(at, request.Port).String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, tunnel.ErrInUse
	}
	if err != nil {
		return nil, err
	}
	return remoteListener{listener.(*net.TCPListener)}, nil
}

func (r localRemote) ReadTree(_ context.Context, mount string) (tunnel.Tree, error) {
	// What the test put there since comes first.
	if data, err := os.ReadFile(filepath.Join(r.directory, "fresh")); err == nil && r.directory != "" {
		return tunnel.Tree{Files: []tunnel.File{{Path: "key", Mode: 0o444, Data: data}}}, nil
	}
	tree, ok := r.trees[mount]
	if tree.Version == tooLarge {
		return tunnel.Tree{}, tunnel.ErrTooLarge
	}
	if !ok {
		return tunnel.Tree{}, os.ErrNotExist
	}
	return tree, nil
}

type remoteListener struct{ *net.TCPListener }

func (l remoteListener) AcceptFlow() (net.Conn, error) { return nil, errors.ErrUnsupported }

func (l remoteListener) Accept() (tunnel.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return remoteConn{socket{conn}, there(conn.LocalAddr()), there(conn.RemoteAddr())}, nil
}

// remoteFlows is a UDP port of the pod.
type remoteFlows struct {
	*net.UDPConn
	arriving chan *remoteFlow
}

// remoteFlow is one peer of it.
type remoteFlow struct {
	*net.UDPConn
	peer      netip.AddrPort
	datagrams chan []byte
	closed    chan struct{}
	once      sync.Once
}

func listenFlows(at netip.AddrPort) (Listener, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, tunnel.ErrInUse
	}
	if err != nil {
		return nil, err
	}
	l := remoteFlows{conn, make(chan *remoteFlow)}
	go func() {
		flows := map[netip.AddrPort]*remoteFlow{}
		defer close(l.arriving)
		for {
			datagram := make([]byte, 65536)
			n, peer, err := conn.ReadFromUDPAddrPort(datagram)
			if err != nil {
				for _, flow := range flows {
					flow.Close()
				}
				return
			}
			if flows[peer] == nil {
				flows[peer] = &remoteFlow{UDPConn: conn, peer: peer, datagrams: make(chan []byte, 100), closed: make(chan struct{})}
				l.arriving <- flows[peer]
			}
			flows[peer].datagrams <- datagram[:n]
		}
	}()
	return l, nil
}

func (l remoteFlows) Accept() (tunnel.Conn, error) { return nil, errors.ErrUnsupported }

func (l remoteFlows) AcceptFlow() (net.Conn, error) {
	flow, ok := <-l.arriving
	if !ok {
		return nil, net.ErrClosed
	}
	return flow, nil
}

func (f *remoteFlow) Read(p []byte) (int, error) {
	select {
	case datagram := <-f.datagrams:
		return copy(p, datagram), nil
	case <-f.closed:
		return 0, io.EOF
	}
}

func (f *remoteFlow) Write(p []byte) (int, error) { return f.WriteToUDPAddrPort(p, f.peer) }

func (f *remoteFlow) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (f *remoteFlow) RemoteAddr() net.Addr { return there(net.TCPAddrFromAddrPort(f.peer)) }

func (f *remoteFlow) LocalAddr() net.Addr {
	return there(net.TCPAddrFromAddrPort(f.UDPConn.LocalAddr().(*net.UDPAddr).AddrPort()))
}

type remoteConn struct {
	socket
	local, remote net.Addr
}

func (c remoteConn) LocalAddr() net.Addr                      { return c.local }
func (c remoteConn) RemoteAddr() net.Addr                     { return c.remote }
func (c remoteConn) WriteTo(w io.Writer) (n int64, err error) { return c.TCPConn.WriteTo(w) }
