//go:build linux

// Package netstack is the world outside a stage: a TCP/IP stack in this process
// that takes every packet the stage sends, whoever it is for, and carries each
// connection and each UDP flow over to the pod's network. What comes of a dial
// there is what the local process sees: its handshake is completed only when
// the far one was. It also dials into the stage, from any address. It does not
// know how packets get here, but for the shape of their frames.
package netstack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"understudy.dev/understudy/operator/tunnel"
)

var hostOrder = binary.NativeEndian

// Device is where the stage's packets are read and written. Each read and each
// write is one frame: 10 bytes of struct virtio_net_hdr, 14 of Ethernet where
// Ethernet is set, an IP packet. File must be in non-blocking mode.
type Device struct {
	File     *os.File
	Ethernet bool
	// MAC of the stage's interface, where Ethernet is set.
	MAC [6]byte
	// MTU in bytes, of IP packets.
	MTU uint32
}

// Outside is the network that the stage's packets are for. Errors are the
// tunnel's.
type Outside interface {
	DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error)
	DialUDP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
}

// Timeouts. Those of UDP are the kernel's own for tracked flows
// (nf_conntrack_udp_timeout, _stream); those of a name server's answers only
// spare streams, of which the agent takes 4096: resolvers take a new port for
// each question, and say nothing more once all are answered.
const (
	dialTimeout       = 130 * time.Second // Linux gives up a connect after 127 s
	udpUnanswered     = 30 * time.Second
	udpAnswered       = 120 * time.Second
	udpNameAnswered   = 5 * time.Second
	udpNameDone       = 500 * time.Millisecond
	timeWait          = 2 * time.Second
	maxPendingConnect = 2048
)

// Buffers of one TCP connection in bytes. The windows they allow are filled
// from the same machine, so more would only delay.
const (
	defaultBuffer = 512 << 10
	maxBuffer     = 4 << 20
)

const nic = tcpip.NICID(1)

// Stack is running from New to Close.
type Stack struct {
	stack   *stack.Stack
	link    *link
	outside Outside
	log     *slog.Logger

	ctx    context.Context // of the carrying goroutines; ends with Close
	cancel context.CancelFunc
	flows  sync.WaitGroup

	// sequence numbers of the connects that are being carried over: an ICMP
	// error counts only if it quotes the right one.
	sequences sync.Map // stack.TransportEndpointID -> uint32
}

// New starts a stack on the device, which it closes in the end.
func New(device Device, outside Outside, log *slog.Logger) (*Stack, error) {
	link, err := newLink(device)
	if err != nil {
		return nil, err
	}
	s := &Stack{
		stack: stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
		}),
		link: link, outside: outside, log: log,
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.configure(); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Stack) configure() error {
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: defaultBuffer, Max: maxBuffer}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: tcp.MinBufferSize, Default: defaultBuffer, Max: maxBuffer}
	selective := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(true)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, option := range []tcpip.SettableTransportProtocolOption{&receive, &send, &selective, &moderate, &wait} {
		if err := s.stack.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return fmt.Errorf("configuring TCP: %s", err)
		}
	}
	s.stack.SetTransportProtocolHandler(tcp.ProtocolNumber, s.tcpHandler())
	s.stack.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s.stack, s.carryUDP).HandlePacket)

	if err := s.stack.CreateNIC(nic, s.link); err != nil {
		return fmt.Errorf("attaching the device: %s", err)
	}
	// Everybody's packets are taken, and sent in everybody's name.
	if err := s.stack.SetPromiscuousMode(nic, true); err != nil {
		return fmt.Errorf("attaching the device: %s", err)
	}
	if err := s.stack.SetSpoofing(nic, true); err != nil {
		return fmt.Errorf("attaching the device: %s", err)
	}
	s.stack.SetRouteTable([]tcpip.Route{
		{Destination: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom4([4]byte{})}.Subnet(), NIC: nic},
		{Destination: tcpip.AddressWithPrefix{Address: tcpip.AddrFrom16([16]byte{})}.Subnet(), NIC: nic},
	})
	return nil
}

// Close resets what is open, closes the device and waits for all goroutines.
func (s *Stack) Close() {
	s.cancel()
	s.stack.Close()
	s.link.Close()
	s.flows.Wait()
	// First the link: the stack waits for it with its lock held, which a packet
	// on its way in may need.
	s.link.Wait()
	s.stack.Wait()
}

// Lost counts the packets that the device did not take.
func (s *Stack) Lost() uint64 { return s.link.lost.Load() }

func addrPort(address tcpip.Address, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(address.AsSlice())
	return netip.AddrPortFrom(addr, port)
}

func full(to netip.AddrPort) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	addr := to.Addr().Unmap()
	if addr.Is4() {
		return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom4(addr.As4()), Port: to.Port()}, ipv4.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nic, Addr: tcpip.AddrFrom16(addr.As16()), Port: to.Port()}, ipv6.ProtocolNumber
}

// outcome is what the local process is told of a failed dial.
type outcome int

const (
	refused outcome = iota
	unreachable
	silence
)

func (s *Stack) outcomeOf(err error, network string, to netip.AddrPort) outcome {
	switch {
	case errors.Is(err, tunnel.ErrRefused):
		return refused
	case errors.Is(err, tunnel.ErrUnreachable):
		return unreachable
	case errors.Is(err, tunnel.ErrTimeout), errors.Is(err, tunnel.ErrClosed), s.ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return silence
	}
	s.log.Warn("dialing in the pod's network failed", "network", network, "address", to, "error", err)
	return unreachable
}
