package command

import (
	"os"

	"golang.org/x/sys/unix"
)

// supported says whether exec works on this operating system.
func supported() error { return nil }

// interruptPlugins interrupts the credential plugins that this process, the
// keeper, has started. They are in its process group, where a Ctrl-C of the
// terminal does not reach them; this process itself heeds no SIGINT.
func interruptPlugins() {
	if unix.Getpgrp() == os.Getpid() {
		_ = unix.Kill(0, unix.SIGINT)
	}
}
