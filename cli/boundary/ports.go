package boundary

import (
	"slices"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// ports are those on which the local process may be reached, by its own
// numbers.
func (b *Boundary) ports(ports []tunnel.Port, all bool) ([]tunnel.Port, bool) {
	if b.incoming.Mode == config.IncomingOff {
		return nil, false
	}
	var open []tunnel.Port
	for _, port := range ports {
		if inside, ok := b.inner(port.Port); ok && b.opened(port.Port) {
			port.Port = inside
			open = append(open, port)
		}
	}
	if all && len(b.incoming.Ports) > 0 {
		// Only those that are named, of all.
		for _, outside := range b.incoming.Ports {
			if inside, ok := b.inner(outside); ok && !slices.ContainsFunc(open, func(p tunnel.Port) bool { return p.Port == inside }) {
				open = append(open, tunnel.Port{Network: "tcp", Port: inside, Why: "asked"})
			}
		}
		all = false
	}
	return open, all
}

// opened says whether a port of the pod may be opened in the cluster.
func (b *Boundary) opened(outside uint16) bool {
	return b.incoming.Mode != config.IncomingOff && !slices.Contains(b.incoming.IgnorePorts, outside) &&
		(len(b.incoming.Ports) == 0 || slices.Contains(b.incoming.Ports, outside))
}

// Closed says whether the configuration keeps a port of the local process out
// of the cluster.
func (b *Boundary) Closed(inside uint16) bool {
	outside, ok := b.Outer(inside)
	return !ok || !b.opened(outside)
}

// Outer is the port of the pod that a port of the local process stands for;
// false where it stands for none, since another stands for its number.
func (b *Boundary) Outer(inside uint16) (uint16, bool) {
	taken := false
	for _, pair := range b.incoming.PortMapping {
		if pair[0] == inside {
			return pair[1], true
		}
		taken = taken || pair[1] == inside
	}
	return inside, !taken
}

// inner is the port of the local process that stands for a port of the pod;
// false where that would be one that stands for another.
func (b *Boundary) inner(outside uint16) (uint16, bool) {
	taken := false
	for _, pair := range b.incoming.PortMapping {
		if pair[1] == outside {
			return pair[0], true
		}
		taken = taken || pair[0] == outside
	}
	return outside, !taken
}

// Published is the port of this machine's 127.0.0.1 where a port of the local
// process is reached.
func (b *Boundary) Published(port uint16) uint16 {
	for _, pair := range b.incoming.ListenPorts {
		if pair[0] == port {
			return pair[1]
		}
	}
	return port
}
