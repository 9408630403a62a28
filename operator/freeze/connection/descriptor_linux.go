package connection

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const protocolMPTCP = 262 // IPPROTO_MPTCP

// disconnect ends the connections among the sockets, except those that are done,
// by a copy of the process's descriptor: to connect a TCP socket to nothing is to
// reset it.
func (h *held) disconnect(done func(inode uint64) bool) (int, error) {
	count := 0
	var errs []error
	for inode, holders := range h.sockets {
		if done(inode) {
			continue
		}
		// Any holder's will do; the first may have ended.
		var err error
		for _, holder := range holders {
			var was bool
			if was, err = holder.disconnect(); err == nil {
				if was {
					count++
				}
				break
			}
		}
		if err != nil && !ended(err) {
			errs = append(errs, err)
		}
	}
	return count, errors.Join(errs...)
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

func (h holder) disconnect() (was bool, err error) {
	fd, err := h.copy()
	if err != nil {
		if ended(err) || errors.Is(err, unix.EBADF) {
			return false, nil // closed, or ended
		}
		return false, fmt.Errorf("copying descriptor %d of process %d: %w", h.fd, h.process.pid, err)
	}
	defer unix.Close(fd)
	if !isConnection(fd) {
		return false, nil
	}
	var nothing unix.RawSockaddrAny // AF_UNSPEC
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&nothing)), unix.SizeofSockaddrInet6); errno != 0 {
		return false, fmt.Errorf("disconnecting descriptor %d of process %d: %w", h.fd, h.process.pid, errno)
	}
	return true, nil
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

// isConnection tells whether a socket is a TCP connection: not one that listens,
// and none that is closed.
func isConnection(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP && protocol != protocolMPTCP {
		return false
	}
	if domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
		return false
	}
	if protocol == protocolMPTCP {
		// It has no state to ask for.
		_, err := unix.Getpeername(fd)
		return err == nil
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && connected(info.State)
}
