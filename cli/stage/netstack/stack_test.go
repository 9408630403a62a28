//go:build linux

package netstack

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"understudy.dev/understudy/operator/tunnel"
)

// world answers each dial with what the test has decided.
type world struct{ dials chan answer }

type answer struct {
	to netip.AddrPort
	as chan error
}

func (w world) DialTCP(ctx context.Context, to netip.AddrPort) (tunnel.Conn, error) {
	a := answer{to, make(chan error)}
	w.dials <- a
	select {
	case err := <-a.as:
		if err != nil {
			return nil, err
		}
		near, _ := net.Pipe()
		return pipe{near}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (world) DialUDP(context.Context, netip.AddrPort) (net.Conn, error) {
	return nil, tunnel.ErrRefused
}

// pipe is a connection that nobody speaks on.
type pipe struct{ net.Conn }

func (p pipe) CloseWrite() error { return nil }
func (p pipe) CloseRead() error  { return nil }
func (p pipe) Reset() error      { return p.Close() }
func (p pipe) WriteTo(io.Writer) (int64, error) {
	_, err := p.Read(make([]byte, 1))
	return 0, err
}

// stageEnd is the other end of a device: no privileges are needed here.
type stageEnd struct {
	*os.File
	t      *testing.T
	offset int
}

func begin(t *testing.T, w world, ethernet bool) stageEnd {
	t.Helper()
	end, stack := beginOpen(t, w, ethernet)
	t.Cleanup(func() { stack.Close(); end.Close() })
	return end
}

// beginOpen is begin where the test itself closes both.
func beginOpen(t *testing.T, w world, ethernet bool) (stageEnd, *Stack) {
	t.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	device := Device{File: os.NewFile(uintptr(ends[0]), "device"), Ethernet: ethernet, MAC: [6]byte{2, 0, 0, 0, 0, 1}, MTU: 1500}
	stack, err := New(device, w, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	end := stageEnd{os.NewFile(uintptr(ends[1]), "stage"), t, vnetHeader}
	if ethernet {
		end.offset += ethernetHeader
	}
	return end, stack
}

var (
	own4, far4 = tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})
	own6, far6 = tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 1}), tcpip.AddrFrom16([16]byte{0: 0xfd, 15: 2})
)

const (
	ownPort  = 40000
	farPort  = 80
	sequence = 0xfedcba98
)

// connects sends a SYN.
func (s stageEnd) connects(six bool) {
	s.t.Helper()
	if err := s.sends(six, header.TCPFlagSyn); err != nil {
		s.t.Fatal(err)
	}
}

// sends sends a segment without data.
func (s stageEnd) sends(six bool, flags header.TCPFlags) error {
	segment := header.TCP(make([]byte, header.TCPMinimumSize))
	segment.Encode(&header.TCPFields{SrcPort: ownPort, DstPort: farPort, SeqNum: sequence, DataOffset: header.TCPMinimumSize, Flags: flags, WindowSize: 65535})
	var packet []byte
	if six {
		ip := header.IPv6(make([]byte, header.IPv6MinimumSize))
		ip.Encode(&header.IPv6Fields{PayloadLength: header.TCPMinimumSize, TransportProtocol: header.TCPProtocolNumber, HopLimit: 64, SrcAddr: own6, DstAddr: far6})
		packet = append(ip, segment...)
	} else {
		ip := header.IPv4(make([]byte, header.IPv4MinimumSize))
		ip.Encode(&header.IPv4Fields{TotalLength: header.IPv4MinimumSize + header.TCPMinimumSize, TTL: 64, Protocol: uint8(header.TCPProtocolNumber), SrcAddr: own4, DstAddr: far4})
		ip.SetChecksum(^ip.CalculateChecksum())
		packet = append(ip, segment...)
	}
	_, err := s.Write(append(make([]byte, s.offset), packet...))
	return err
}

// dialled sends a SYN, again and again as the kernel does, until it has come to
// a dial: while the stack is still done with the last one, it is not heard.
func (s stageEnd) dialled(six bool, w world) answer {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		s.connects(six)
		select {
		case dial := <-w.dials:
			return dial
		case <-time.After(retransmission):
		}
	}
	s.t.Fatal("no SYN has come to a dial")
	return answer{}
}

// hears waits for the next packet, and returns its protocol and what follows
// the IP header; nil where none comes.
func (s stageEnd) hears(wait time.Duration) (uint8, []byte) {
	s.t.Helper()
	frame := make([]byte, 65536)
	if err := s.SetReadDeadline(time.Now().Add(wait)); err != nil {
		s.t.Fatal(err)
	}
	n, err := s.Read(frame)
	if err != nil {
		return 0, nil
	}
	packet := frame[s.offset:n]
	if packet[0]>>4 == 4 {
		return packet[9], packet[header.IPv4MinimumSize:]
	}
	return packet[6], packet[header.IPv6MinimumSize:]
}

const patience = 10 * time.Second

// retransmission is after how long a SYN is sent again.
const retransmission = 200 * time.Millisecond

func TestAConnectIsAnsweredWithWhatTheDialComesTo(t *testing.T) {
	for _, six := range []bool{false, true} {
		for _, ethernet := range []bool{false, true} {
			w := world{make(chan answer)}
			s := begin(t, w, ethernet)

			dial := s.dialled(six, w)
			if want := netip.AddrPortFrom(netip.MustParseAddr(map[bool]string{false: "10.0.0.2", true: "fd00::2"}[six]), farPort); dial.to != want {
				t.Errorf("dialed %s, want %s", dial.to, want)
			}
			// Nothing is said before the dial has come to something.
			if protocol, _ := s.hears(50 * time.Millisecond); protocol != 0 {
				t.Errorf("protocol %d answered before the dial did", protocol)
			}
			dial.as <- tunnel.ErrRefused
			if protocol, segment := s.hears(patience); protocol != uint8(header.TCPProtocolNumber) ||
				header.TCP(segment).Flags() != header.TCPFlagRst|header.TCPFlagAck || header.TCP(segment).AckNumber() != sequence+1 {
				t.Errorf("refused: %d % x", protocol, segment)
			}

			s.dialled(six, w).as <- tunnel.ErrUnreachable
			protocol, message := s.hears(patience)
			checkUnreachable(t, six, protocol, message)

			s.dialled(six, w).as <- tunnel.ErrTimeout
			if protocol, _ := s.hears(50 * time.Millisecond); protocol != 0 {
				t.Errorf("protocol %d answered, the dial had not", protocol)
			}

			s.dialled(six, w).as <- nil
			if protocol, segment := s.hears(patience); protocol != uint8(header.TCPProtocolNumber) || header.TCP(segment).Flags() != header.TCPFlagSyn|header.TCPFlagAck {
				t.Errorf("success: %d % x", protocol, segment)
			}
		}
	}
}

// Segments of connections that are gone may come until the last moment; each
// wants a reset, for which the stack has to look up a route.
func TestClosingWhileSegmentsCome(t *testing.T) {
	for range 50 {
		s, stack := beginOpen(t, world{make(chan answer)}, false)
		var sending sync.WaitGroup
		sending.Go(func() {
			for s.sends(false, header.TCPFlagAck) == nil {
			}
		})
		if protocol, _ := s.hears(patience); protocol != uint8(header.TCPProtocolNumber) {
			t.Errorf("protocol %d is the answer", protocol)
		}
		sending.Go(func() { _, _ = io.Copy(io.Discard, s) })
		closed := make(chan struct{})
		go func() { defer close(closed); stack.Close() }()
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatal("closing does not end")
		}
		s.Close()
		sending.Wait()
	}
}

func checkUnreachable(t *testing.T, six bool, protocol uint8, message []byte) {
	t.Helper()
	var quote int
	if six {
		icmp := header.ICMPv6(message)
		if protocol != uint8(header.ICMPv6ProtocolNumber) || icmp.Type() != header.ICMPv6DstUnreachable || icmp.Code() != header.ICMPv6AddressUnreachable {
			t.Fatalf("unreachable: %d % x", protocol, message)
		}
		if sum := header.ICMPv6Checksum(header.ICMPv6ChecksumParams{Header: icmp, Src: far6, Dst: own6}); sum != icmp.Checksum() {
			t.Errorf("the checksum is %x, not %x", icmp.Checksum(), sum)
		}
		quote = header.ICMPv6DstUnreachableMinimumSize + header.IPv6MinimumSize
	} else {
		icmp := header.ICMPv4(message)
		if protocol != uint8(header.ICMPv4ProtocolNumber) || icmp.Type() != header.ICMPv4DstUnreachable || icmp.Code() != header.ICMPv4HostUnreachable {
			t.Fatalf("unreachable: %d % x", protocol, message)
		}
		quote = header.ICMPv4MinimumSize + header.IPv4MinimumSize
	}
	segment := header.TCP(message[quote:])
	if segment.SourcePort() != ownPort || segment.DestinationPort() != farPort || segment.SequenceNumber() != sequence {
		t.Errorf("it quotes % x", segment)
	}
}

// Pings are not carried, so they must not be answered.
func TestAPingIsNotAnswered(t *testing.T) {
	s := begin(t, world{make(chan answer)}, false)
	const length = header.IPv4MinimumSize + header.ICMPv4MinimumSize
	packet := make([]byte, length)
	ip := header.IPv4(packet)
	ip.Encode(&header.IPv4Fields{TotalLength: length, TTL: 64, Protocol: uint8(header.ICMPv4ProtocolNumber), SrcAddr: own4, DstAddr: far4})
	ip.SetChecksum(^ip.CalculateChecksum())
	echo := header.ICMPv4(packet[header.IPv4MinimumSize:])
	echo.SetType(header.ICMPv4Echo)
	echo.SetChecksum(header.ICMPv4Checksum(echo, 0))
	if _, err := s.Write(append(make([]byte, s.offset), packet...)); err != nil {
		t.Fatal(err)
	}
	if protocol, _ := s.hears(100 * time.Millisecond); protocol != 0 {
		t.Errorf("protocol %d answered", protocol)
	}
}
