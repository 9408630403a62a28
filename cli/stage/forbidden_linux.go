package stage

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check says, before anything is made in a cluster, whether this machine lets
// its user have a stage: it makes the namespaces of one, uses them and gives
// them up, which takes some milliseconds. The error is ErrForbidden or another.
func Check() error {
	attributes := &syscall.SysProcAttr{Cloneflags: namespaces, AmbientCaps: handCapabilities, Pdeathsig: unix.SIGKILL}
	mapIDs(attributes)
	pid, err := fork(&syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Sys: attributes}, os.Args, role{Role: roleProbe})
	if err != nil {
		if forbidding(err) {
			return explain(err)
		}
		return fmt.Errorf("making namespaces: %w", err)
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("waiting for the probe of namespaces: %w", err)
	case status.Signaled():
		return fmt.Errorf("the probe of namespaces was ended by signal %d", int(status.Signal()))
	case status.ExitStatus() != 0:
		return explain(syscall.Errno(status.ExitStatus()))
	}
	return nil
}

// runProbe does in the namespaces what needs their capabilities, as a policy
// may allow the one and not the other. It returns an errno.
func runProbe() int {
	var errno syscall.Errno
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); errors.As(err, &errno) {
		return int(errno)
	}
	return 0
}

// forbidding says that an error may come from a policy.
func forbidding(err error) bool {
	for _, errno := range []syscall.Errno{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// explain finds out why namespaces cannot be made or used, and says what to
// change.
func explain(err error) error {
	return fmt.Errorf("%w (%w): %s", ErrForbidden, err, remedy(func(path string) string {
		data, err := os.ReadFile(path)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}))
}

// remedy is the first switch found to be off, with how to turn it on. It is
// given how to read a file of /proc, whose content is empty when missing.
func remedy(read func(path string) string) string {
	const sys = "/proc/sys/"
	switch {
	case read(sys+"user/max_user_namespaces") == "0":
		return "user.max_user_namespaces is 0; an administrator can allow them with: sysctl -w user.max_user_namespaces=15000"
	case read(sys+"kernel/unprivileged_userns_clone") == "0":
		return "kernel.unprivileged_userns_clone is 0; an administrator can allow them with: sysctl -w kernel.unprivileged_userns_clone=1"
	case read(sys+"kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "AppArmor restricts them (Ubuntu 23.10 and later); an administrator can give understudy a profile with \"userns,\" " +
			"or allow them to all with: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	case read(sys+"user/max_net_namespaces") == "0" || read(sys+"user/max_mnt_namespaces") == "0" || read(sys+"user/max_uts_namespaces") == "0":
		return "one of user.max_net_namespaces, user.max_mnt_namespaces, user.max_uts_namespaces is 0; an administrator can raise it with sysctl -w"
	}
	return "the kernel lacks them, or a sandbox (a container's seccomp profile, a chroot) takes them away; " +
		"in Docker: --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
}
