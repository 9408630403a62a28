package connection

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Of linux/inet_diag.h: struct inet_diag_req_v2 is family, protocol, extensions,
// padding (a byte each), states (4 bytes) and struct inet_diag_sockid (48 bytes);
// struct inet_diag_msg is family, state, timer, retransmissions (a byte each),
// the same id, and expires, two queues, uid and inode (4 bytes each).
const (
	sizeID      = 48
	sizeRequest = 8 + sizeID
	sizeAnswer  = 4 + sizeID + 5*4
	atInode     = 4 + sizeID + 4*4
)

// States of linux/tcp_states.h in which a connection is one: not those that
// listen, that are closed, and that belong to no process any more.
const (
	tcpEstablished = 1
	tcpSynSent     = 2
	tcpSynRecv     = 3
	tcpFinWait1    = 4
	tcpFinWait2    = 5
	tcpCloseWait   = 8
	tcpLastAck     = 9
	tcpClosing     = 11
)

func connected(state uint8) bool {
	switch state {
	case tcpEstablished, tcpSynSent, tcpSynRecv, tcpFinWait1, tcpFinWait2, tcpCloseWait, tcpLastAck, tcpClosing:
		return true
	}
	return false
}

// namespaces lists the network namespaces that the processes are in, one process
// for each.
func (h *held) namespaces() []*process {
	var first []*process
	for _, p := range h.processes {
		if !slices.ContainsFunc(first, func(other *process) bool { return other.netns == p.netns }) && p.netns != "" {
			first = append(first, p)
		}
	}
	return first
}

// destroyIn has the kernel destroy those of the sockets that are connections in
// the process's network namespace, and returns their inodes.
func (h *held) destroyIn(p *process) ([]uint64, error) {
	fd, err := unix.Openat(int(p.dir.Fd()), "ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		if ended(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("entering the network namespace of process %d: %w", p.pid, err)
	}
	ns := os.NewFile(uintptr(fd), "netns")
	defer ns.Close()
	conn, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, &netlink.Config{NetNS: int(ns.Fd())})
	if err != nil {
		return nil, fmt.Errorf("asking for the sockets of process %d: %w", p.pid, err)
	}
	defer conn.Close()
	var destroyed []uint64
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := dump(conn, family)
		if err != nil {
			errs = append(errs, fmt.Errorf("listing the sockets of process %d: %w", p.pid, err))
			continue
		}
		for _, s := range sockets {
			if len(h.sockets[s.inode]) == 0 || h.isMPTCP(s.inode) {
				continue
			}
			switch err := destroy(conn, s); {
			case err == nil:
				destroyed = append(destroyed, s.inode)
			case errors.Is(err, unix.ENOENT): // it has just been closed
			default:
				errs = append(errs, fmt.Errorf("destroying a socket of process %d: %w", p.pid, err))
			}
		}
	}
	return destroyed, errors.Join(errs...)
}

// socket is a line of the kernel's table.
type socket struct {
	family uint8
	// id as the kernel gave it: addresses, ports, interface, and a cookie that
	// no other socket will ever have.
	id    [sizeID]byte
	inode uint64
}

// dump lists the connections of a family; those that speak IPv4 on an IPv6 socket
// are of IPv6.
func dump(conn *netlink.Conn, family uint8) ([]socket, error) {
	request := make([]byte, sizeRequest)
	request[0], request[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0)) // all states
	messages, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   request,
	})
	if errors.Is(err, unix.ENOENT) && family == unix.AF_INET6 {
		return nil, nil // a kernel without IPv6
	}
	if err != nil {
		return nil, err
	}
	var sockets []socket
	for _, m := range messages {
		if len(m.Data) < sizeAnswer || !connected(m.Data[1]) {
			continue
		}
		s := socket{family: m.Data[0], inode: uint64(binary.NativeEndian.Uint32(m.Data[atInode:]))}
		copy(s.id[:], m.Data[4:])
		if s.inode != 0 {
			sockets = append(sockets, s)
		}
	}
	return sockets, nil
}

func destroy(conn *netlink.Conn, s socket) error {
	request := make([]byte, sizeRequest)
	request[0], request[1] = s.family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request[4:], ^uint32(0))
	copy(request[8:], s.id[:])
	_, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DESTROY, Flags: netlink.Request | netlink.Acknowledge},
		Data:   request,
	})
	return err
}
