package fence

import (
	"net/netip"
	"testing"
)

const (
	targetUser  = 0
	sidecarUser = 1337
)

// A container is refused all that is new, in both directions and from its first
// packet on, and nobody else in the pod is; once by cgroup, and once as on a node
// that has no cgroup version 2.
func TestFence(t *testing.T) {
	for _, by := range []string{"cgroup", "user"} {
		for _, family := range families {
			t.Run(by+"/"+family.name, func(t *testing.T) {
				w := newWorld(t)
				target, sidecar, broker := w.container("target", targetUser), w.container("sidecar", sidecarUser), w.outside("broker")
				for _, network := range []string{"tcp", "udp"} {
					broker.expect("ok", "listen %s %s", network, at(family.kubelet, 5672))
					target.expect("ok", "listen %s %s", network, at(anyOf(family.pod), 8080))
					sidecar.expect("ok", "listen %s %s", network, at(anyOf(family.pod), 9090))
				}
				target.expect("ok broker", "keep tcp %s", at(family.kubelet, 5672))

				// whoever tries this gets these answers
				try := func(held string) {
					t.Helper()
					for _, network := range []string{"tcp", "udp"} {
						target.expect(held, "dial %s %s", network, at(family.kubelet, 5672))
						target.expect(held, "dial %s %s", network, at(family.loopback, 9090))
						broker.expect(held, "dial %s %s", network, at(family.pod, 8080))
						sidecar.expect(held, "dial %s %s", network, at(family.loopback, 8080))
						sidecar.expect(held, "dial %s %s", network, at(family.pod, 8080))

						sidecar.expect("ok broker", "dial %s %s", network, at(family.kubelet, 5672))
						sidecar.expect("ok sidecar", "dial %s %s", network, at(family.loopback, 9090))
						broker.expect("ok sidecar", "dial %s %s", network, at(family.pod, 9090))
						if got := w.agentDials(network, at(family.kubelet, 5672), Control); got[:2] != "ok" {
							t.Errorf("the agent dials the broker by %s: %s", network, got)
						}
					}
					target.expect(held, "sctp %s", family.kubelet)
					target.expect("ok hello", "say")
				}
				try("ok")
				f := w.fence("s1")
				scope := w.scope(target, sidecar)
				if by == "user" {
					var err error
					scope, err = ScopeOfUsers([]uint32{targetUser}, []uint32{sidecarUser}, listening(anyOf(family.pod), 9090))
					w.must("scope", err)
				}
				w.must("raising", f.Raise(scope))
				try("refused")

				// It is started again: another cgroup, other sockets.
				again := w.container("target", targetUser)
				for _, network := range []string{"tcp", "udp"} {
					again.expect("refused", "dial %s %s", network, at(family.kubelet, 5672))
					again.expect("ok", "listen %s %s", network, at(anyOf(family.pod), 8081))
					broker.expect("refused", "dial %s %s", network, at(family.pod, 8081))
				}
				again.stop()

				w.must("lowering", f.Lower())
				try("ok")
				w.must("raising again", f.Raise(scope))
				try("refused")
				w.must("closing", f.Close())
				try("ok")
				w.clean()
			})
		}
	}
}

// listening is a listener by TCP and one by UDP.
func listening(addr netip.Addr, port uint16) []Listener {
	to := netip.AddrPortFrom(addr, port)
	return []Listener{{At: to}, {UDP: true, At: to}}
}

func anyOf(addr netip.Addr) netip.Addr {
	if addr.Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}
