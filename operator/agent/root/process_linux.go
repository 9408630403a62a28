package root

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Process opens a process as such, by its number at this moment: its folder in
// /proc. What that leads to is of this process alone, and of none once it has
// ended, whoever has its number then. Whether it is the one that was meant has to
// be looked at after this.
func Process(pid int) (*os.File, error) {
	path := fmt.Sprintf("/proc/%d", pid)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening process %d: %w", pid, ended(err))
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Folder is the path of what Process has opened.
func Folder(process *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", process.Fd()) }

// ended makes of what is not there in a process's folder what that means: it is no
// file of the container's that is missed.
func ended(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return unix.ESRCH
	}
	return err
}
