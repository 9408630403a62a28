package boundary

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"

	"understudy.dev/understudy/cli/stage"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// Remote is the pod as the stage has it, with what is this machine's in the
// place of what is not the pod's.
func (b *Boundary) Remote(pod stage.Remote) stage.Remote { return &remote{Remote: pod, b: b} }

type remote struct {
	stage.Remote
	b *Boundary
}

// DialTCP connects from the pod's network, or from this machine.
func (r *remote) DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	switch {
	case r.b.isServer(to) && r.b.asksHere():
		return r.b.dialHere(ctx, r.b.ownServer(to))
	case r.b.isServer(to) || !r.b.isLocal("tcp", to):
		return r.Remote.DialTCP(ctx, to)
	}
	return r.b.dialHere(ctx, to)
}

// DialUDP opens a flow from the pod's network, or from this machine.
func (r *remote) DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	pod := func(ctx context.Context) (net.Conn, error) { return r.Remote.DialUDP(ctx, to) }
	switch {
	case r.b.isServer(to) && r.b.listens():
		return r.b.questions(ctx, pod)
	case r.b.isServer(to):
		return pod(ctx)
	case r.b.isLocal("udp", to):
		conn, err := r.b.here.dialer.DialContext(ctx, "udp", to.String())
		if err != nil {
			return nil, asTunnel(err)
		}
		return conn, nil
	}
	return pod(ctx)
}

// Listen opens a port in the cluster, by its number there.
func (r *remote) Listen(ctx context.Context, request tunnel.ListenRequest) (stage.Listener, error) {
	outside, ok := r.b.Outer(request.Port)
	if !ok || !r.b.opened(outside) || request.Loopback && r.b.incoming.IgnoreLocalhost {
		return nil, fmt.Errorf("port %d: %w", request.Port, tunnel.ErrForbidden)
	}
	request.Port = outside
	return r.Remote.Listen(ctx, request)
}

// isServer says whether an address is that of one of the pod's name servers.
func (b *Boundary) isServer(to netip.AddrPort) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return to.Port() == 53 && slices.Contains(b.servers, to.Addr().Unmap())
}

// isLocal says whether a connection goes out from this machine.
func (b *Boundary) isLocal(network string, to netip.AddrPort) bool {
	address := to.Addr().Unmap()
	if network == "tcp" && !b.outgoing.TCP || network == "udp" && !b.outgoing.UDP || address.IsLoopback() && b.outgoing.IgnoreLocalhost {
		return true
	}
	if len(b.remote) > 0 {
		return !b.matches(b.remote, network, to)
	}
	return b.matches(b.local, network, to)
}

func (b *Boundary) matches(list []config.Destination, network string, to netip.AddrPort) bool {
	address := to.Addr().Unmap()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(list, func(d config.Destination) bool {
		switch {
		case d.Network != "" && d.Network != network, d.Port != 0 && d.Port != to.Port(), d.Prefix.IsValid() && !d.Prefix.Contains(address):
			return false
		case d.Name == "":
			return true
		case d.Name == "localhost":
			return address.IsLoopback()
		}
		return slices.ContainsFunc(b.known[address], func(name string) bool { _, ok := b.meant(name, d.Name); return ok })
	})
}

// meant says whether a name that was looked up is the one of a filter, as it
// is or with one of the pod's search domains behind it; and gives it as it was
// before that. mu is held.
func (b *Boundary) meant(name, pattern string) (string, bool) {
	if like(name, pattern) {
		return name, true
	}
	for _, domain := range b.search {
		if bare, ok := strings.CutSuffix(name, "."+domain); ok && like(bare, pattern) {
			return bare, true
		}
	}
	return "", false
}

// like says whether a name is that of a pattern, whose "*" stands for anything.
func like(name, pattern string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return name == pattern
	}
	rest, ok := strings.CutPrefix(name, before)
	if !ok {
		return false
	}
	for i := range len(rest) + 1 {
		if like(rest[i:], after) {
			return true
		}
	}
	return false
}

// dialHere connects from this machine.
func (b *Boundary) dialHere(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	conn, err := b.here.dialer.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, asTunnel(err)
	}
	return own{conn.(*net.TCPConn)}, nil
}

// own is a connection of this machine as a tunnel.Conn.
type own struct{ *net.TCPConn }

var _ tunnel.Conn = own{}

// Reset closes with a reset.
func (o own) Reset() error {
	_ = o.SetLinger(0)
	return o.Close()
}

// asTunnel is an error of this machine's kernel as the tunnel would have said
// it, so that the local process is told the same.
func asTunnel(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on this machine's network: %w", tunnel.ErrRefused, err)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return fmt.Errorf("%w on this machine's network: %w", tunnel.ErrUnreachable, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w on this machine's network: %w", tunnel.ErrTimeout, err)
	}
	return err
}
