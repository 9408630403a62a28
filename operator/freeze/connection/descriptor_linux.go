package connection

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const protocolMPTCP = 262 // IPPROTO_MPTCP

// ErrRefused: the kernel lets nobody copy another process's descriptors, as where
// kernel.yama.ptrace_scope is 3, or cannot, as before Linux 5.6.
var ErrRefused = errors.New("descriptors of other processes may not be copied here")

// each does something to a copy of each socket that is wanted, and returns what that
// has counted.
func (h *held) each(wanted func(inode uint64) bool, do func(fd int) (int, error)) (int, error) {
	count := 0
	var errs []error
	for inode, holders := range h.sockets {
		if !wanted(inode) {
			continue
		}
		// Any holder's will do; the first may have ended.
		var err error
		for _, holder := range holders {
			var n int
			n, err = holder.with(do)
			count += n
			if err == nil {
				break
			}
		}
		if err != nil && !ended(err) {
			errs = append(errs, err)
		}
	}
	return count, errors.Join(errs...)
}

func (h *held) discard() (int, error) {
	return h.each(func(uint64) bool { return true }, discard)
}

// isMPTCP tells whether a socket that the kernel lists as TCP is only one path of
// a connection: if that is destroyed, the connection waits for another.
func (h *held) isMPTCP(inode uint64) bool {
	for _, holder := range h.sockets[inode] {
		fd, err := holder.copy()
		if err != nil {
			continue
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		unix.Close(fd)
		return err == nil && protocol == protocolMPTCP
	}
	return false
}

// with does something to a copy of the descriptor. One that is closed has nothing
// to be done to it.
func (h holder) with(do func(fd int) (int, error)) (int, error) {
	fd, err := h.copy()
	if err != nil {
		if ended(err) || errors.Is(err, unix.EBADF) {
			return 0, nil
		}
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			err = fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return 0, fmt.Errorf("copying descriptor %d of process %d: %w", h.fd, h.process.pid, err)
	}
	defer unix.Close(fd)
	count, err := do(fd)
	if err != nil {
		err = fmt.Errorf("descriptor %d of process %d: %w", h.fd, h.process.pid, err)
	}
	return count, err
}

// copy duplicates the descriptor into this process.
func (h holder) copy() (int, error) {
	pidfd, err := unix.PidfdOpen(h.process.pid, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pidfd)
	// Still the one whose files were read?
	if err := unix.Faccessat(int(h.process.dir.Fd()), "fd", unix.F_OK, 0); err != nil {
		return -1, unix.ESRCH
	}
	return unix.PidfdGetfd(pidfd, h.fd, 0)
}

// disconnect ends a connection, or those that wait to be accepted.
func disconnect(fd int) (int, error) {
	switch {
	case listens(fd):
		return refuse(fd)
	case isConnection(fd):
		return 1, reset(fd)
	}
	return 0, nil
}

// discard leaves nothing in a TCP socket to be read, or to be accepted. It counts
// those in which there may have been something.
func discard(fd int) (int, error) {
	switch {
	case tcpOf(fd) == 0:
		return 0, nil
	case listens(fd):
		return refuse(fd)
	}
	count := 0
	if unread, err := unix.IoctlGetInt(fd, unix.TIOCINQ); isConnection(fd) || err != nil || unread > 0 {
		count = 1
	}
	// In any case: what lies behind an urgent byte is not counted as unread.
	return count, reset(fd)
}

// listens tells whether a TCP socket listens.
func listens(fd int) bool {
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && listens == 1 && tcpOf(fd) != 0
}

// reset resets a connection, and empties what is one no more: that is what it is for
// a TCP socket to be connected to nothing.
func reset(fd int) error {
	var nothing unix.RawSockaddrAny // AF_UNSPEC
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nothing)), unix.SizeofSockaddrInet6); errno != 0 {
		return fmt.Errorf("disconnecting: %w", errno)
	}
	return nil
}

// refuse resets the connections that wait to be accepted, and counts them.
func refuse(fd int) (count int, err error) {
	for {
		// Whose it is is frozen, so nobody else takes what there is.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return count, err
		}
		waiting, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err != nil {
			return count, fmt.Errorf("accepting what waits: %w", err)
		}
		count++
		err = unix.SetsockoptLinger(waiting, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(waiting)
		if err != nil {
			return count, fmt.Errorf("resetting what waits: %w", err)
		}
	}
}

// tcpOf is the protocol of a socket that is TCP's or MPTCP's, 0 of any other.
func tcpOf(fd int) int {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP && protocol != protocolMPTCP {
		return 0
	}
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return 0
	}
	return protocol
}

// isConnection tells whether a socket is a TCP connection: not one that listens,
// and none that is closed.
func isConnection(fd int) bool {
	switch tcpOf(fd) {
	case unix.IPPROTO_TCP:
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		return err == nil && connected(info.State)
	case protocolMPTCP:
		// It has no state to ask for.
		_, err := unix.Getpeername(fd)
		return err == nil
	}
	return false
}
