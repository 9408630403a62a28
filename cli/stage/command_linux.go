package stage

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// run starts the command on the process's first thread, without any of its
// capabilities.
func (h *hand) run(command Command) error {
	if len(command.Args) == 0 {
		return errors.New("no command to run")
	}
	path, err := h.find(command)
	if err != nil {
		return err
	}
	if err := dropInheritance(); err != nil {
		return err
	}
	// The command's signals are to be as they were when the shell started the
	// front.
	var blocked unix.Sigset_t
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &h.role.Mask, &blocked); err != nil {
		return fmt.Errorf("restoring the signal mask: %w", err)
	}
	attributes := &syscall.ProcAttr{
		Env:   command.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	}
	pid, err := syscall.ForkExec(path, command.Args, attributes)
	if errors.Is(err, unix.ENOEXEC) {
		// What execvp and every shell do with a script that names no interpreter.
		pid, err = syscall.ForkExec("/bin/sh", append([]string{"sh", path}, command.Args[1:]...), attributes)
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, nil)
	if err != nil {
		return fmt.Errorf("starting %s: %w", path, err)
	}
	// Only now: a signal to the group that has come before may not have reached the
	// command, and is the keeper's.
	h.command.Store(int64(pid))
	running := true
	_ = h.front.Send(handMessage{Running: &running})
	return nil
}

// find enters the command's directory and looks its name up as execvp would.
func (h *hand) find(command Command) (string, error) {
	if command.Dir != "" {
		if err := os.Chdir(command.Dir); err != nil {
			return "", fmt.Errorf("entering the working directory: %w", err)
		}
	}
	path := ""
	for _, entry := range command.Env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value
		}
	}
	if err := os.Setenv("PATH", path); err != nil {
		return "", fmt.Errorf("looking up %s: %w", command.Args[0], err)
	}
	found, err := exec.LookPath(command.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%s: %w", command.Args[0], unix.ENOENT)
		}
		return "", fmt.Errorf("looking up the command: %w", err)
	}
	return found, nil
}

// dropInheritance sees to it that nothing which this thread starts has a
// capability. The thread keeps its own.
func dropInheritance() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("clearing the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("clearing the inheritable capabilities: %w", err)
	}
	// Execve would give uid 0 all of them again.
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secureNoRoot|secureNoRootLocked, 0, 0, 0); err != nil {
		return fmt.Errorf("setting the secure bits: %w", err)
	}
	return nil
}

// Bits of <linux/securebits.h>.
const (
	secureNoRoot       = 1 << 0
	secureNoRootLocked = 1 << 1
)
