package agent

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// udp is an open UDP port of one family, which knows to which of the pod's
// addresses a datagram was sent, and answers from there.
type udp struct {
	conn *net.UDPConn
	four *ipv4.PacketConn // one of the two is nil
	six  *ipv6.PacketConn
	port uint16
}

func openUDP(ctx context.Context, network, address string) (*udp, error) {
	packets, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn, ok := packets.(*net.UDPConn)
	if !ok {
		packets.Close()
		return nil, fmt.Errorf("opening a UDP port: got a %T", packets)
	}
	u := &udp{conn: conn}
	u.port = u.LocalAddr().Port()
	if network == "udp4" {
		u.four = ipv4.NewPacketConn(conn)
		err = u.four.SetControlMessage(ipv4.FlagDst, true)
	} else {
		u.six = ipv6.NewPacketConn(conn)
		err = u.six.SetControlMessage(ipv6.FlagDst, true)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("asking for the addresses that datagrams are sent to: %w", err)
	}
	return u, nil
}

func (u *udp) ReadFrom(p []byte) (n int, peer, at netip.AddrPort, err error) {
	var from net.Addr
	var to net.IP
	if u.four != nil {
		var control *ipv4.ControlMessage
		if n, control, from, err = u.four.ReadFrom(p); control != nil {
			to = control.Dst
		}
	} else {
		var control *ipv6.ControlMessage
		if n, control, from, err = u.six.ReadFrom(p); control != nil {
			to = control.Dst
		}
	}
	if err != nil {
		return 0, peer, at, err
	}
	if known, ok := from.(*net.UDPAddr); ok {
		peer = netip.AddrPortFrom(known.AddrPort().Addr().Unmap(), known.AddrPort().Port())
	}
	at = u.LocalAddr()
	if addr, ok := netip.AddrFromSlice(to); ok {
		at = netip.AddrPortFrom(addr.Unmap(), u.port)
	}
	return n, peer, at, nil
}

func (u *udp) WriteTo(p []byte, peer, at netip.AddrPort) (err error) {
	to := net.UDPAddrFromAddrPort(peer)
	if u.four != nil {
		_, err = u.four.WriteTo(p, &ipv4.ControlMessage{Src: at.Addr().AsSlice()}, to)
	} else {
		_, err = u.six.WriteTo(p, &ipv6.ControlMessage{Src: at.Addr().AsSlice()}, to)
	}
	return err
}

func (u *udp) LocalAddr() netip.AddrPort {
	known, ok := u.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(known.AddrPort().Addr().Unmap(), known.AddrPort().Port())
}

func (u *udp) Close() error { return u.conn.Close() }
