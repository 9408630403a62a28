//go:build linux

package netstack

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// vnetHeader is the size of struct virtio_net_hdr in bytes.
	vnetHeader = 10
	// needsChecksum is VIRTIO_NET_HDR_F_NEEDS_CSUM.
	needsChecksum  = 1
	ethernetHeader = 14
	// udpChecksum is where the checksum is in a UDP header (RFC 768).
	udpChecksum = 6
	maxPacket   = 65535
)

// farMAC is the address of everybody who is not in the stage; the kernel does
// not ask whose it is.
var farMAC = [6]byte{0x02, 'u', 'n', 'd', 'e', 'r'}

// link carries packets between the TCP/IP stack and the device's descriptor.
type link struct {
	file *os.File
	raw  syscall.RawConn
	// offset of the IP packet in a frame.
	offset int
	mac    [6]byte
	mtu    atomic.Uint32
	lost   atomic.Uint64

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
	reading    sync.WaitGroup
}

var _ stack.LinkEndpoint = (*link)(nil)

func newLink(device Device) (*link, error) {
	raw, err := device.File.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("opening the stage's device: %w", err)
	}
	l := &link{file: device.File, raw: raw, offset: vnetHeader, mac: device.MAC}
	if device.Ethernet {
		l.offset += ethernetHeader
	}
	l.mtu.Store(device.MTU)
	return l, nil
}

// read delivers what the stage sends until the device is closed.
func (l *link) read() {
	frame := make([]byte, l.offset+maxPacket)
	for {
		n, err := l.file.Read(frame)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		if n <= l.offset {
			continue
		}
		packet := frame[l.offset:n]
		protocol, ok := wanted(packet)
		if !ok {
			continue
		}
		l.mu.RLock()
		dispatcher := l.dispatcher
		l.mu.RUnlock()
		if dispatcher == nil {
			continue
		}
		data := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(packet)})
		dispatcher.DeliverNetworkPacket(protocol, data)
		data.DecRef()
	}
}

// wanted is the packet's protocol, and false for what ends here: ICMP, which
// the tunnel does not carry (answering a ping from here would tell that a host
// is there which is not), and multicast.
func wanted(packet []byte) (tcpip.NetworkProtocolNumber, bool) {
	switch packet[0] >> 4 {
	case 4:
		ip := header.IPv4(packet)
		if !ip.IsValid(len(packet)) {
			return 0, false
		}
		unwanted := ip.TransportProtocol() == header.ICMPv4ProtocolNumber ||
			header.IsV4MulticastAddress(ip.DestinationAddress()) || ip.DestinationAddress() == header.IPv4Broadcast
		return header.IPv4ProtocolNumber, !unwanted
	case 6:
		ip := header.IPv6(packet)
		if !ip.IsValid(len(packet)) {
			return 0, false
		}
		unwanted := ip.TransportProtocol() == header.ICMPv6ProtocolNumber || header.IsV6MulticastAddress(ip.DestinationAddress())
		return header.IPv6ProtocolNumber, !unwanted
	}
	return 0, false
}

// WritePackets sends to the stage. Checksums are left to the kernel, which
// does not compute them either, as nothing leaves this machine's memory.
func (l *link) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	for _, packet := range packets.AsSlice() {
		head := make([]byte, l.offset)
		if packet.TransportProtocolNumber == header.TCPProtocolNumber || packet.TransportProtocolNumber == header.UDPProtocolNumber {
			l.leaveChecksum(head, packet)
		}
		l.addEthernet(head, packet.NetworkProtocolNumber)
		parts := [][]byte{head}
		parts = append(parts, packet.AsSlices()...)
		if err := l.writev(parts); err != nil {
			l.lost.Add(1)
		}
	}
	return packets.Len(), nil
}

// leaveChecksum asks for the transport checksum: where it starts in the frame
// after the virtio header, and where in there it belongs.
func (l *link) leaveChecksum(head []byte, packet *stack.PacketBuffer) {
	if len(packet.TransportHeader().Slice()) == 0 {
		return // a fragment: the checksum was computed before it was cut
	}
	head[0] = needsChecksum
	start := l.offset - vnetHeader + len(packet.NetworkHeader().Slice())
	offset := header.TCPChecksumOffset
	if packet.TransportProtocolNumber == header.UDPProtocolNumber {
		offset = udpChecksum
	}
	hostOrder.PutUint16(head[6:], uint16(start))
	hostOrder.PutUint16(head[8:], uint16(offset))
}

func (l *link) addEthernet(head []byte, protocol tcpip.NetworkProtocolNumber) {
	if l.offset == vnetHeader {
		return
	}
	ethernet := head[vnetHeader:]
	copy(ethernet[0:], l.mac[:])
	copy(ethernet[6:], farMAC[:])
	ethernet[12], ethernet[13] = byte(protocol>>8), byte(protocol)
}

// inject sends a whole IP packet, made elsewhere, to the stage.
func (l *link) inject(protocol tcpip.NetworkProtocolNumber, packet []byte) {
	head := make([]byte, l.offset)
	l.addEthernet(head, protocol)
	if err := l.writev([][]byte{head, packet}); err != nil {
		l.lost.Add(1)
	}
}

func (l *link) writev(parts [][]byte) error {
	var failed error
	err := l.raw.Write(func(fd uintptr) bool {
		for {
			_, failed = unix.Writev(int(fd), parts)
			if !errors.Is(failed, unix.EINTR) {
				break
			}
		}
		return !errors.Is(failed, unix.EAGAIN)
	})
	return errors.Join(err, failed)
}

// Attach starts and ends delivery.
func (l *link) Attach(dispatcher stack.NetworkDispatcher) {
	l.mu.Lock()
	started := l.dispatcher != nil
	l.dispatcher = dispatcher
	l.mu.Unlock()
	if dispatcher != nil && !started {
		l.reading.Go(l.read)
	}
}

// IsAttached says whether packets are delivered.
func (l *link) IsAttached() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.dispatcher != nil
}

// Close closes the device, which ends reading.
func (l *link) Close() { l.file.Close() }

// Wait waits for reading to end.
func (l *link) Wait() { l.reading.Wait() }

// MTU in bytes, of IP packets.
func (l *link) MTU() uint32 { return l.mtu.Load() }

// SetMTU in bytes, of IP packets.
func (l *link) SetMTU(mtu uint32) { l.mtu.Store(mtu) }

// Capabilities: checksums are neither looked at nor made.
func (*link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload | stack.CapabilityTXChecksumOffload
}

// The rest of stack.LinkEndpoint: to the stack this is a point-to-point device
// without link addresses.
func (*link) MaxHeaderLength() uint16                 { return 0 }
func (*link) LinkAddress() tcpip.LinkAddress          { return "" }
func (*link) SetLinkAddress(tcpip.LinkAddress)        {}
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }
func (*link) AddHeader(*stack.PacketBuffer)           {}
func (*link) ParseHeader(*stack.PacketBuffer) bool    { return true }
func (*link) SetOnCloseAction(func())                 {}
