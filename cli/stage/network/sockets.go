//go:build linux

package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Socket is one socket that takes what comes from anywhere: a TCP listener, or
// a UDP socket that is not connected.
type Socket struct {
	Network string // "tcp" or "udp"
	Addr    netip.Addr
	Port    uint16
	// Only6 says of one at :: that it does not take IPv4 as well.
	Only6 bool
}

// States of sockets as bits, from the kernel's include/net/tcp_states.h.
const (
	stateListen = 1 << 10
	stateClose  = 1 << 7
)

// Watcher lists the sockets of the network namespace in which it was made. Not
// to be used by several goroutines at the same time.
type Watcher struct {
	fd     int
	buffer []byte
}

// NewWatcher opens the kernel's socket diagnosis.
func NewWatcher() (*Watcher, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("opening the socket diagnosis: %w", err)
	}
	// A reply that never comes must not stop the stage.
	timeout := unix.Timeval{Sec: 5}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening the socket diagnosis: %w", err)
	}
	return &Watcher{fd: fd, buffer: make([]byte, 64<<10)}, nil
}

// Close closes the diagnosis.
func (w *Watcher) Close() error { return unix.Close(w.fd) }

// Sockets lists what listens now, in the kernel's order.
func (w *Watcher) Sockets() ([]Socket, error) {
	var found []Socket
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		for _, transport := range []struct {
			protocol uint8
			network  string
			states   uint32
		}{{unix.IPPROTO_TCP, "tcp", stateListen}, {unix.IPPROTO_UDP, "udp", stateClose}} {
			err := w.dump(family, transport.protocol, transport.states, func(addr netip.Addr, port uint16, only6 bool) {
				if port != 0 {
					only6 = only6 && addr == netip.IPv6Unspecified()
					found = append(found, Socket{Network: transport.network, Addr: addr, Port: port, Only6: only6})
				}
			})
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("listing %s sockets: %w", transport.network, err)
			}
		}
	}
	return found, nil
}

// The layout of a request and of a reply is struct inet_diag_req_v2 and struct
// inet_diag_msg of the kernel's include/uapi/linux/inet_diag.h.
const (
	requestSize   = unix.SizeofNlMsghdr + 56
	replySize     = 72
	offsetPort    = 4
	offsetAddress = 8
)

func (w *Watcher) dump(family, protocol uint8, states uint32, each func(addr netip.Addr, port uint16, only6 bool)) error {
	request := make([]byte, requestSize)
	order := binary.NativeEndian
	order.PutUint32(request[0:], requestSize)
	order.PutUint16(request[4:], unix.SOCK_DIAG_BY_FAMILY)
	order.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request[unix.SizeofNlMsghdr] = family
	request[unix.SizeofNlMsghdr+1] = protocol
	order.PutUint32(request[unix.SizeofNlMsghdr+4:], states)
	if err := unix.Sendto(w.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("asking the socket diagnosis: %w", err)
	}
	for {
		n, _, err := unix.Recvfrom(w.fd, w.buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the socket diagnosis: %w", err)
		}
		for data := w.buffer[:n]; len(data) >= unix.SizeofNlMsghdr; {
			length := int(order.Uint32(data))
			if length < unix.SizeofNlMsghdr || length > len(data) {
				return errors.New("reading the socket diagnosis: a message is cut off")
			}
			body := data[unix.SizeofNlMsghdr:length]
			switch order.Uint16(data[4:]) {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return errors.New("reading the socket diagnosis: an error is cut off")
				}
				return unix.Errno(-int32(order.Uint32(body)))
			case unix.SOCK_DIAG_BY_FAMILY:
				if len(body) >= replySize {
					each(address(family, body[offsetAddress:]), binary.BigEndian.Uint16(body[offsetPort:]), only6(body[replySize:]))
				}
			}
			data = data[min((length+3)&^3, len(data)):]
		}
	}
}

// onlyAttribute is INET_DIAG_SKV6ONLY.
const onlyAttribute = 11

// only6 looks for that attribute, a byte, among those of a reply.
func only6(attributes []byte) bool {
	for len(attributes) >= unix.SizeofNlAttr {
		length := int(binary.NativeEndian.Uint16(attributes))
		if length < unix.SizeofNlAttr || length > len(attributes) {
			return false
		}
		if binary.NativeEndian.Uint16(attributes[2:]) == onlyAttribute && length > unix.SizeofNlAttr {
			return attributes[unix.SizeofNlAttr] != 0
		}
		attributes = attributes[min((length+3)&^3, len(attributes)):]
	}
	return false
}

func address(family uint8, data []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(data[:4]))
	}
	return netip.AddrFrom16([16]byte(data[:16])).Unmap()
}
