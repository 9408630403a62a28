//go:build linux

package netstack

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// unreachableKind is which destination unreachable message is sent.
type unreachableKind int

const (
	hostUnreachable unreachableKind = iota
	portUnreachable
)

// quoted is how much of the transport header an ICMP error must quote: the
// ports, and of TCP the sequence number.
const quoted = 8

const timeToLive = 64

// unreachable sends an ICMP error in the name of the destination that a packet
// of the flow was for. The packet it quotes is made up as far as the kernel
// looks at it: addresses, ports, and TCP's sequence number.
func (s *Stack) unreachable(id stack.TransportEndpointID, transport tcpip.TransportProtocolNumber, kind unreachableKind, sequence uint32) {
	if id.LocalAddress.Len() == header.IPv4AddressSize {
		s.link.inject(ipv4.ProtocolNumber, unreachable4(id, transport, kind, sequence))
		return
	}
	s.link.inject(ipv6.ProtocolNumber, unreachable6(id, transport, kind, sequence))
}

func quote(transport []byte, id stack.TransportEndpointID, sequence uint32) {
	header.UDP(transport).SetSourcePort(id.RemotePort)
	header.UDP(transport).SetDestinationPort(id.LocalPort)
	transport[4], transport[5], transport[6], transport[7] = byte(sequence>>24), byte(sequence>>16), byte(sequence>>8), byte(sequence)
}

func unreachable4(id stack.TransportEndpointID, transport tcpip.TransportProtocolNumber, kind unreachableKind, sequence uint32) []byte {
	const length = header.IPv4MinimumSize + header.ICMPv4MinimumSize + header.IPv4MinimumSize + quoted
	packet := make([]byte, length)
	outer := header.IPv4(packet)
	outer.Encode(&header.IPv4Fields{
		TotalLength: length, TTL: timeToLive, Protocol: uint8(header.ICMPv4ProtocolNumber),
		SrcAddr: id.LocalAddress, DstAddr: id.RemoteAddress,
	})
	outer.SetChecksum(^outer.CalculateChecksum())

	message := header.ICMPv4(packet[header.IPv4MinimumSize:])
	inner := header.IPv4(message[header.ICMPv4MinimumSize:])
	inner.Encode(&header.IPv4Fields{
		TotalLength: header.IPv4MinimumSize + header.TCPMinimumSize, TTL: timeToLive, Protocol: uint8(transport),
		SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress,
	})
	inner.SetChecksum(^inner.CalculateChecksum())
	quote(inner[header.IPv4MinimumSize:], id, sequence)

	message.SetType(header.ICMPv4DstUnreachable)
	message.SetCode(header.ICMPv4HostUnreachable)
	if kind == portUnreachable {
		message.SetCode(header.ICMPv4PortUnreachable)
	}
	message.SetChecksum(^checksum.Checksum(message, 0))
	return packet
}

func unreachable6(id stack.TransportEndpointID, transport tcpip.TransportProtocolNumber, kind unreachableKind, sequence uint32) []byte {
	const payload = header.ICMPv6DstUnreachableMinimumSize + header.IPv6MinimumSize + quoted
	packet := make([]byte, header.IPv6MinimumSize+payload)
	header.IPv6(packet).Encode(&header.IPv6Fields{
		PayloadLength: payload, TransportProtocol: header.ICMPv6ProtocolNumber, HopLimit: timeToLive,
		SrcAddr: id.LocalAddress, DstAddr: id.RemoteAddress,
	})
	message := header.ICMPv6(packet[header.IPv6MinimumSize:])
	inner := header.IPv6(message[header.ICMPv6DstUnreachableMinimumSize:])
	inner.Encode(&header.IPv6Fields{
		PayloadLength: header.TCPMinimumSize, TransportProtocol: transport, HopLimit: timeToLive,
		SrcAddr: id.RemoteAddress, DstAddr: id.LocalAddress,
	})
	quote(inner[header.IPv6MinimumSize:], id, sequence)

	message.SetType(header.ICMPv6DstUnreachable)
	message.SetCode(header.ICMPv6AddressUnreachable)
	if kind == portUnreachable {
		message.SetCode(header.ICMPv6PortUnreachable)
	}
	message.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: message, Src: id.LocalAddress, Dst: id.RemoteAddress}))
	return packet
}
