package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"understudy.dev/understudy/operator/tunnel"
)

// Listen opens a TCP port that the configuration allows.
func (p *pod) Listen(ctx context.Context, request tunnel.ListenRequest) (net.Listener, error) {
	if request.Network != "tcp" || !p.allowed(request) {
		return nil, fmt.Errorf("%s port %d: %w", request.Network, request.Port, tunnel.ErrForbidden)
	}
	listeners, err := openAll(places(request, "tcp", "tcp4", "tcp6"), func(network, address string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, network, address)
	})
	if err != nil {
		return nil, err
	}
	listener := join(listeners)
	if onLoopback(request) {
		return listener, nil
	}
	p.state.opened(request.Port, 1)
	return &counted{Listener: listener, closed: func() { p.state.opened(request.Port, -1) }}, nil
}

// ListenUDP opens a UDP port that the configuration allows.
func (p *pod) ListenUDP(ctx context.Context, request tunnel.ListenRequest) ([]tunnel.UDPSocket, error) {
	if request.Network != "udp" || !p.allowed(request) {
		return nil, fmt.Errorf("%s port %d: %w", request.Network, request.Port, tunnel.ErrForbidden)
	}
	// A socket of both families tells only by half to which address a datagram
	// was sent: there is one for each.
	request.Addrs = slices.Clone(request.Addrs)
	if len(request.Addrs) == 0 && !request.Loopback {
		request.Addrs = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	return openAll(places(request, "", "udp4", "udp6"), func(network, address string) (tunnel.UDPSocket, error) {
		return openUDP(ctx, network, address)
	})
}

func (p *pod) allowed(request tunnel.ListenRequest) bool {
	if request.Port == 0 || request.Port == p.config.Port && request.Network == "tcp" {
		return false
	}
	if request.Loopback && slices.ContainsFunc(request.Addrs, func(addr netip.Addr) bool { return !addr.IsLoopback() }) {
		return false
	}
	return p.config.ListenAll || slices.ContainsFunc(p.config.Ports, func(port tunnel.Port) bool {
		return port.Network == request.Network && port.Port == request.Port
	})
}

// onLoopback says that the port is not to be reached from outside the pod.
func onLoopback(request tunnel.ListenRequest) bool {
	return request.Loopback ||
		len(request.Addrs) > 0 && !slices.ContainsFunc(request.Addrs, func(addr netip.Addr) bool { return !addr.IsLoopback() })
}

// place is where one socket is bound.
type place struct{ network, address string }

// places of a request: one for all addresses of both families where there is a
// network of both, else one for all of a family, else one for each address.
func places(request tunnel.ListenRequest, both, four, six string) []place {
	addrs := request.Addrs
	if len(addrs) == 0 && request.Loopback {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	any4, any6 := slices.Contains(addrs, netip.IPv4Unspecified()), slices.Contains(addrs, netip.IPv6Unspecified())
	at := func(host string) string { return net.JoinHostPort(host, fmt.Sprint(request.Port)) }
	if both != "" && (len(addrs) == 0 || any4 && any6) {
		return []place{{both, at("")}}
	}
	var all []place
	if any4 {
		all = append(all, place{four, at("0.0.0.0")})
	}
	if any6 {
		all = append(all, place{six, at("::")})
	}
	for _, addr := range addrs {
		switch addr = addr.Unmap(); {
		case addr.IsUnspecified(), addr.Is4() && any4, addr.Is6() && any6:
		case addr.Is4():
			all = append(all, place{four, at(addr.String())})
		default:
			all = append(all, place{six, at(addr.String())})
		}
	}
	return all
}

// openAll opens all places, or none; those that the pod does not have are left
// out where it has another.
func openAll[T interface{ Close() error }](places []place, open func(network, address string) (T, error)) (opened []T, err error) {
	var missing error
	for _, place := range places {
		socket, err := open(place.network, place.address)
		switch {
		case err == nil:
			opened = append(opened, socket)
			continue
		case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
			missing = err
			continue
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			err = fmt.Errorf("the container has not the privilege: %w", tunnel.ErrForbidden)
		}
		for _, socket := range opened {
			socket.Close()
		}
		return nil, err
	}
	if len(opened) == 0 {
		return nil, missing
	}
	return opened, nil
}
