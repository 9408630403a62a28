//go:build unix

package tunnel

import "syscall"

// readDescriptor reads what is there, without waiting where there is nothing.
func readDescriptor(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
