package boundary

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/tunnel"
)

// Loopback are the ports of 127.0.0.1 and ::1 that lead out of the stage: those
// of the pod's other containers and, where the line says so, of this machine.
func (b *Boundary) Loopback(pod []tunnel.Endpoint) []tunnel.Endpoint {
	leading := map[tunnel.Endpoint]bool{}
	for _, endpoint := range pod {
		if !b.isLocal(endpoint.Network, netip.AddrPortFrom(loopbackOf(endpoint.Addr), endpoint.Port)) {
			leading[endpoint] = true
		}
	}
	if b.loopbackHere() {
		for _, endpoint := range b.listening() {
			if b.isLocal(endpoint.Network, netip.AddrPortFrom(endpoint.Addr, endpoint.Port)) {
				leading[endpoint] = true
			}
		}
	}
	return sortedPorts(leading)
}

func loopbackOf(address netip.Addr) netip.Addr {
	switch {
	case address.IsLoopback():
		return address
	case address.Unmap().Is4():
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// loopbackHere says whether any port of loopback may be this machine's.
func (b *Boundary) loopbackHere() bool {
	return b.outgoing.IgnoreLocalhost || !b.outgoing.TCP || len(b.remote) > 0 ||
		slices.ContainsFunc(b.local, func(d config.Destination) bool {
			return d.Network != "udp" && (d.Name == "" && !d.Prefix.IsValid() || d.Name == "localhost" || d.Prefix.IsValid() && d.Prefix.Addr().IsLoopback() || d.Prefix.Bits() == 0)
		})
}

// lookEvery so often at what listens on this machine.
const lookEvery = time.Second

// Follow tells set of the ports of loopback whenever what listens on this
// machine has changed, until ctx is done. The pod's are those that pod gives.
func (b *Boundary) Follow(ctx context.Context, pod func() []tunnel.Endpoint, set func([]tunnel.Endpoint)) {
	if !b.loopbackHere() {
		return
	}
	var last []tunnel.Endpoint
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if now := b.Loopback(pod()); !slices.Equal(now, last) {
			set(now)
			last = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// listening are the TCP ports on which something on this machine listens on
// loopback.
func (b *Boundary) listening() []tunnel.Endpoint {
	var endpoints []tunnel.Endpoint
	for _, path := range b.here.sockets {
		file, err := os.Open(path)
		if err != nil {
			continue // no IPv6, or no Linux
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			if endpoint, ok := listener(lines.Text()); ok {
				endpoints = append(endpoints, endpoint)
			}
		}
		file.Close()
	}
	return endpoints
}

// listener reads one line of the kernel's list: its number, local address,
// remote address, state, as proc(5) has it.
func listener(line string) (tunnel.Endpoint, bool) {
	const listens = "0A"
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[3] != listens {
		return tunnel.Endpoint{}, false
	}
	text, port, _ := strings.Cut(fields[1], ":")
	raw, err := hex.DecodeString(text)
	number, failed := strconv.ParseUint(port, 16, 16)
	if err != nil || failed != nil || len(raw)%4 != 0 {
		return tunnel.Endpoint{}, false
	}
	for i := 0; i < len(raw); i += 4 { // words in the machine's order
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	address, ok := netip.AddrFromSlice(raw)
	address = address.Unmap()
	if !ok || !address.IsLoopback() && !address.IsUnspecified() {
		return tunnel.Endpoint{}, false
	}
	return tunnel.Endpoint{Network: "tcp", Addr: loopbackOf(address), Port: uint16(number)}, true
}
