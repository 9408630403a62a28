package fence

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxDatagram in bytes that one of IP can carry.
const maxDatagram = 64 << 10

// StolenUDP is a UDP port of the pod whose datagrams come here. One goroutine may
// read, many may write.
type StolenUDP struct {
	fence *Fence
	port  Port
	queue chan datagram
	done  chan struct{}
	once  sync.Once
}

type datagram struct {
	data     []byte
	peer, at netip.AddrPort
}

// StealUDP takes the datagrams to a port, until what is returned is closed, but for
// those to sockets that are connected to their peer. A port that another container
// of the pod has is left to it. The error is ErrInUse if it is stolen already.
func (f *Fence) StealUDP(port Port) (*StolenUDP, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, fmt.Errorf("stealing UDP port %d: %w", port.Number, net.ErrClosed)
	}
	if f.takers[port] != nil {
		return nil, fmt.Errorf("stealing UDP port %d: %w", port.Number, ErrInUse)
	}
	if f.flaps == nil {
		if err := f.openFlaps(); err != nil {
			return nil, err
		}
	}
	s := &StolenUDP{fence: f, port: port, queue: make(chan datagram, backlog), done: make(chan struct{})}
	f.takers[port] = s
	err := f.changeLocked(func(p *plan) {
		p.stealUDP = nil
		for _, flap := range f.flaps {
			p.stealUDP = append(p.stealUDP, flap.addr)
		}
		p.stolenUDP = append(slices.Clone(p.stolenUDP), port)
	})
	if err != nil {
		delete(f.takers, port)
		return nil, fmt.Errorf("stealing UDP port %d: %w", port.Number, err)
	}
	return s, nil
}

// ReadFrom waits for the next datagram: whose it is, and to which of the pod's
// addresses it was sent. What does not fit is cut off. The error is net.ErrClosed at
// the end.
func (s *StolenUDP) ReadFrom(p []byte) (n int, peer, at netip.AddrPort, err error) {
	select {
	case <-s.done:
		return 0, peer, at, net.ErrClosed
	case d := <-s.queue:
		return copy(p, d.data), d.peer, d.at, nil
	}
}

// WriteTo answers peer from at.
func (s *StolenUDP) WriteTo(p []byte, peer, at netip.AddrPort) error {
	s.fence.mu.Lock()
	flaps, closed := s.fence.flaps, s.fence.closed
	s.fence.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	for _, flap := range flaps {
		if flap.addr.Addr().Is6() == peer.Addr().Is6() {
			return flap.send(p, peer, at)
		}
	}
	return fmt.Errorf("answering %s: the pod has no such family", peer)
}

// LocalAddr is the port as stolen, at no address in particular or at loopback.
func (s *StolenUDP) LocalAddr() netip.AddrPort {
	if s.port.Loopback {
		return netip.AddrPortFrom(loopback4.Addr().Next(), s.port.Number)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), s.port.Number)
}

// Close gives the port back.
func (s *StolenUDP) Close() error {
	f := s.fence
	f.mu.Lock()
	defer f.mu.Unlock()
	s.once.Do(func() { close(s.done) })
	if f.closed || f.takers[s.port] != s {
		return nil
	}
	delete(f.takers, s.port)
	return f.changeLocked(func(p *plan) {
		p.stolenUDP = slices.DeleteFunc(slices.Clone(p.stolenUDP), func(port Port) bool { return port == s.port })
	})
}

// flap is a socket of one family on the pod's loopback that datagrams to other
// addresses and ports are given to, and one that sends from any.
type flap struct {
	conn *net.UDPConn
	addr netip.AddrPort
	raw  *os.File
}

func (l *flap) close() {
	l.conn.Close()
	l.raw.Close()
}

// openFlaps opens one for each family that the namespace has. Called with mu held.
func (f *Fence) openFlaps() error {
	err := within(f.netns, func() error {
		for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			flap, err := openFlap(loopback)
			if loopback.Is6() && lacksIPv6(err) {
				continue
			}
			if err != nil {
				return err
			}
			f.flaps = append(f.flaps, flap)
		}
		return nil
	})
	if err != nil {
		for _, flap := range f.flaps {
			flap.close()
		}
		f.flaps = nil
		return fmt.Errorf("opening UDP on the pod's loopback: %w", err)
	}
	for _, flap := range f.flaps {
		f.accepts.Go(func() { f.hand(flap) })
	}
	return nil
}

func openFlap(loopback netip.Addr) (*flap, error) {
	network, family, level, transparent, original := "udp4", unix.AF_INET, unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_RECVORIGDSTADDR
	if loopback.Is6() {
		network, family, level, transparent, original = "udp6", unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_RECVORIGDSTADDR
	}
	config := net.ListenConfig{Control: func(network, address string, conn syscall.RawConn) error {
		if err := Control(network, address, conn); err != nil {
			return err
		}
		return setOptions(conn, func(fd int) error {
			return os.NewSyscallError("making a UDP socket transparent",
				errors.Join(unix.SetsockoptInt(fd, level, transparent, 1), unix.SetsockoptInt(fd, level, original, 1)))
		})
	}}
	packets, err := config.ListenPacket(context.Background(), network, netip.AddrPortFrom(loopback, 0).String())
	if err != nil {
		return nil, err
	}
	conn := packets.(*net.UDPConn)
	raw, err := openRaw(family)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &flap{conn: conn, addr: conn.LocalAddr().(*net.UDPAddr).AddrPort(), raw: raw}, nil
}

// openRaw opens a socket that sends UDP from any port, as the frozen container has
// the one that an answer is to come from.
func openRaw(family int) (*os.File, error) {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("opening a raw socket", err)
	}
	// Nothing is to be received: RET 0.
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark),
	)
	if family == unix.AF_INET6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_CHECKSUM, offsetChecksum))
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("setting up a raw socket", err)
	}
	return os.NewFile(uintptr(fd), "udp"), nil
}

// A UDP header is source and destination port, length and checksum (RFC 768).
const (
	udpHeader      = 8
	offsetChecksum = 6
)

// send sends a datagram to peer from at.
func (l *flap) send(p []byte, peer, at netip.AddrPort) error {
	if len(p) > maxDatagram-udpHeader {
		return fmt.Errorf("answering %s: %w", peer, unix.EMSGSIZE)
	}
	packet := make([]byte, udpHeader, udpHeader+len(p))
	binary.BigEndian.PutUint16(packet[0:], at.Port())
	binary.BigEndian.PutUint16(packet[2:], peer.Port())
	binary.BigEndian.PutUint16(packet[4:], uint16(udpHeader+len(p)))
	packet = append(packet, p...)
	var control []byte
	var to unix.Sockaddr
	if peer.Addr().Is6() {
		// The kernel computes the checksum.
		control = unix.PktInfo6(&unix.Inet6Pktinfo{Addr: at.Addr().As16()})
		to = &unix.SockaddrInet6{Addr: peer.Addr().As16()}
	} else {
		binary.BigEndian.PutUint16(packet[offsetChecksum:], checksum4(packet, at.Addr().As4(), peer.Addr().As4()))
		control = unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: at.Addr().As4()})
		to = &unix.SockaddrInet4{Addr: peer.Addr().As4()}
	}
	raw, err := l.raw.SyscallConn()
	if err != nil {
		return net.ErrClosed
	}
	// Not to be waited for: what there is no room for is lost, as datagrams are.
	sent := net.ErrClosed
	err = raw.Control(func(fd uintptr) { _, sent = unix.SendmsgN(int(fd), packet, control, to, unix.MSG_DONTWAIT) })
	if err = errors.Join(err, sent); err != nil && !errors.Is(err, unix.EAGAIN) {
		return fmt.Errorf("answering %s from %s: %w", peer, at, err)
	}
	return nil
}

// checksum4 of UDP over IPv4, with its pseudo header; 0 would say that there is none.
func checksum4(packet []byte, from, to [4]byte) uint16 {
	sum := uint32(unix.IPPROTO_UDP) + uint32(len(packet))
	for _, part := range [][]byte{from[:], to[:], packet} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(part[i])<<8 | uint32(part[i+1])
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}

// hand gives each datagram to whom its port was stolen for, until the end.
func (f *Fence) hand(l *flap) {
	buffer, control := make([]byte, maxDatagram), make([]byte, 256)
	for {
		n, oob, _, peer, err := l.conn.ReadMsgUDPAddrPort(buffer, control)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		at, ok := originalDestination(control[:max(oob, 0)])
		if err != nil || !ok {
			continue
		}
		d := datagram{data: slices.Clone(buffer[:n]), peer: netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), at: at}
		f.mu.Lock()
		s := f.takers[Port{Number: at.Port()}]
		if s == nil && at.Addr().IsLoopback() {
			s = f.takers[Port{Number: at.Port(), Loopback: true}]
		}
		if s != nil {
			select {
			case s.queue <- d:
			default: // as a socket whose buffer is full
			}
		}
		f.mu.Unlock()
	}
}

// originalDestination reads the address from a control message, which is a struct
// sockaddr_in or sockaddr_in6 (ip(7)).
func originalDestination(control []byte) (netip.AddrPort, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, message := range messages {
		data := message.Data
		switch {
		case message.Header.Level == unix.SOL_IP && message.Header.Type == unix.IP_ORIGDSTADDR && len(data) >= 8:
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(data[4:8])), binary.BigEndian.Uint16(data[2:])), true
		case message.Header.Level == unix.SOL_IPV6 && message.Header.Type == unix.IPV6_ORIGDSTADDR && len(data) >= 24:
			return netip.AddrPortFrom(netip.AddrFrom16([16]byte(data[8:24])).Unmap(), binary.BigEndian.Uint16(data[2:])), true
		}
	}
	return netip.AddrPort{}, false
}
