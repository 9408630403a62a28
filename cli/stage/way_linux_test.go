package stage

import (
	"net/netip"
	"testing"

	"understudy.dev/understudy/cli/stage/network"
)

func TestChooseWay(t *testing.T) {
	const port = 80
	pod := podAddresses
	socket := func(address string) network.Socket {
		return network.Socket{Network: "tcp", Addr: netip.MustParseAddr(address), Port: port}
	}
	nowhere := netip.AddrPort{}
	for _, test := range []struct {
		name     string
		peer, at string
		sockets  []network.Socket
		want     way
	}{
		{"a peer of the cluster", "10.1.2.3:5", "10.98.0.1:80", []network.Socket{socket("0.0.0.0")}, way{from: at("10.1.2.3:5"), to: at("10.98.0.1:80")}},
		{"over IPv6", "[fd00::9]:5", "[fd00:98::1]:80", []network.Socket{socket("::")}, way{from: at("[fd00::9]:5"), to: at("[fd00:98::1]:80")}},
		{"to a socket on the pod's address", "10.1.2.3:5", "10.98.0.1:80", []network.Socket{socket("10.98.0.1")}, way{from: at("10.1.2.3:5"), to: at("10.98.0.1:80")}},
		{"to an address that the stage has not", "10.1.2.3:5", "10.7.7.7:80", []network.Socket{socket("0.0.0.0")}, way{from: at("10.1.2.3:5"), to: at("10.98.0.1:80")}},
		{"the pod itself", "10.98.0.1:5", "10.98.0.1:80", []network.Socket{socket("0.0.0.0")}, way{inside: true, from: at("10.98.0.1:0"), to: at("10.98.0.1:80")}},
		{"the pod's loopback", "127.0.0.1:5", "127.0.0.1:80", []network.Socket{socket("127.0.0.1")}, way{inside: true, from: at("127.0.0.1:0"), to: at("127.0.0.1:80")}},
		{"the pod's loopback, IPv6", "[::1]:5", "[::1]:80", []network.Socket{socket("::1")}, way{inside: true, from: at("[::1]:0"), to: at("[::1]:80")}},
		{"IPv6 to a socket for IPv4", "[fd00::9]:5", "[fd00:98::1]:80", []network.Socket{socket("0.0.0.0")}, way{inside: true, from: nowhere, to: at("127.0.0.1:80")}},
		{"IPv4 to a socket for IPv6", "10.1.2.3:5", "10.98.0.1:80", []network.Socket{socket("fd00:98::1")}, way{inside: true, from: nowhere, to: at("[fd00:98::1]:80")}},
	} {
		if got := chooseWay("tcp", at(test.peer), at(test.at), port, pod, test.sockets); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}
