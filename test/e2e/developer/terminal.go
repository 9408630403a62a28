package developer

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openTerminal makes a pseudo terminal: near is what the person sees and types
// on, far is the command's, and belongs to the account.
func openTerminal(uid int) (near, far *os.File, err error) {
	near, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a terminal: %w", err)
	}
	// The conversation with the kernel goes over the descriptor without Fd(),
	// which would make reads of it block for good.
	raw, err := near.SyscallConn()
	if err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("making a terminal: %w", err)
	}
	var number int
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); failed == nil {
			number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if failed == nil {
			failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 200})
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		name := fmt.Sprintf("/dev/pts/%d", number)
		if err = os.Chown(name, uid, -1); err == nil {
			far, err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
		}
	}
	if err != nil {
		near.Close()
		return nil, nil, fmt.Errorf("making a terminal: %w", err)
	}
	return near, far, nil
}
