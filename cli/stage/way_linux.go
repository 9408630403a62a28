package stage

import (
	"net/netip"
	"slices"

	"understudy.dev/understudy/cli/stage/network"
)

// way is how a connection gets to a listener: through the stage's interface,
// or over loopback from inside.
type way struct {
	inside   bool
	from, to netip.AddrPort
}

// chooseWay delivers a connection of peer, which came to the pod's own address
// at, to one of the sockets. Whoever the kernel would not believe on an
// interface (loopback, the stage's own addresses) must come from inside, as
// must what is for a socket on loopback.
func chooseWay(transport string, peer, at netip.AddrPort, port uint16, addresses []netip.Addr, sockets []network.Socket) way {
	target := listensAt(sockets)
	if to := at.Addr(); slices.Contains(addresses, to) && network.Covered(sockets, network.Redirect{Network: transport, Addr: to, Port: port}) {
		target = to
	} else if i := slices.IndexFunc(addresses, func(address netip.Addr) bool {
		return address.Is4() == peer.Addr().Is4() && network.Covered(sockets, network.Redirect{Network: transport, Addr: address, Port: port})
	}); i >= 0 && !peer.Addr().IsLoopback() {
		target = addresses[i]
	}
	w := way{from: peer, to: netip.AddrPortFrom(target, port)}
	own := peer.Addr().IsLoopback() || slices.Contains(addresses, peer.Addr())
	switch {
	case !peer.IsValid() || peer.Addr().Is4() != target.Is4():
		w.inside, w.from = true, netip.AddrPort{} // nothing that could be told
	case own || target.IsLoopback():
		w.inside = true
		w.from = netip.AddrPort{}
		if own {
			w.from = netip.AddrPortFrom(peer.Addr(), 0)
		}
	}
	return w
}

// listensAt is an address at which one of the sockets is reached from inside
// the stage.
func listensAt(sockets []network.Socket) netip.Addr {
	for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		to := network.Redirect{Network: sockets[0].Network, Addr: loopback, Port: sockets[0].Port}
		if network.Covered(sockets, to) {
			return loopback
		}
	}
	return sockets[0].Addr
}
