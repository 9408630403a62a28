package fence

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Mark of the agent's sockets in a pod's network namespace: they are not fenced
// and not redirected.
const Mark = 0x756e6466

// Control marks a socket that the agent makes in a pod's network namespace; it is
// for net.Dialer.Control and net.ListenConfig.Control.
func Control(_, _ string, conn syscall.RawConn) error {
	return setOptions(conn, func(fd int) error {
		return os.NewSyscallError("setting SO_MARK", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, Mark))
	})
}

func setOptions(conn syscall.RawConn, set func(fd int) error) error {
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = set(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// door is a listener of one family on the pod's loopback that connections to other
// addresses and ports are given to. Such a connection's local address is the one
// that it was meant for.
type door struct {
	net.Listener
	addr netip.AddrPort
}

// openDoors opens a door for each family that the namespace has. Called within it.
func openDoors() ([]door, error) {
	var doors []door
	for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		config := net.ListenConfig{Control: func(network, address string, conn syscall.RawConn) error {
			if err := Control(network, address, conn); err != nil {
				return err
			}
			return setOptions(conn, func(fd int) error {
				level, option := unix.SOL_IP, unix.IP_TRANSPARENT
				if loopback.Is6() {
					level, option = unix.SOL_IPV6, unix.IPV6_TRANSPARENT
				}
				return os.NewSyscallError("making a socket transparent", unix.SetsockoptInt(fd, level, option, 1))
			})
		}}
		// Keep-alives are the matter of whoever the connection is handed to.
		config.KeepAlive = -1
		network := "tcp4"
		if loopback.Is6() {
			network = "tcp6"
		}
		listener, err := config.Listen(context.Background(), network, netip.AddrPortFrom(loopback, 0).String())
		if loopback.Is6() && lacksIPv6(err) {
			continue
		}
		if err != nil {
			for _, d := range doors {
				d.Close()
			}
			return nil, fmt.Errorf("listening on the pod's loopback: %w", err)
		}
		doors = append(doors, door{Listener: listener, addr: listener.Addr().(*net.TCPAddr).AddrPort()})
	}
	return doors, nil
}

// lacksIPv6 tells by the error of a bind to ::1 whether there is no IPv6, in the
// kernel or in this namespace.
func lacksIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// meant is the address that a connection through a door was meant for.
func meant(conn net.Conn) netip.AddrPort {
	addr, _ := conn.LocalAddr().(*net.TCPAddr)
	if addr == nil {
		return netip.AddrPort{}
	}
	to := addr.AddrPort()
	return netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
}

// reset closes a connection such that its peer sees a reset.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}
