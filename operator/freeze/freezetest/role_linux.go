package freezetest

import (
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	roleVariable = "FREEZE_TEST_ROLE"
	joinVariable = "FREEZE_TEST_JOIN" // cgroup directories, separated by colons
	fileVariable = "FREEZE_TEST_FILE" // where it counts
)

// Role is what a process does; it calls count for each step, and does not return
// but with an error.
type Role func(count func()) error

// Main runs the tests, or one role of a test where this is its process. It does
// not return.
func Main(m *testing.M, more map[string]Role) {
	name := os.Getenv(roleVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	all := maps.Clone(roles)
	maps.Copy(all, more)
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, play(all[name]))
	os.Exit(1)
}

func play(role Role) error {
	for dir := range strings.SplitSeq(os.Getenv(joinVariable), ":") {
		if dir == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	page, err := mapFile(os.Getenv(fileVariable))
	if err != nil {
		return err
	}
	return role(func() { counter(page).Add(1) })
}

// roles that every test has.
var roles = map[string]Role{
	"count": func(count func()) error {
		for {
			count()
			time.Sleep(time.Millisecond)
		}
	},
	// 200 threads that count.
	"threads": func(count func()) error {
		for range 200 {
			go func() {
				runtime.LockOSThread()
				for {
					count()
					_ = unix.Nanosleep(&unix.Timespec{Nsec: 2e6}, nil)
				}
			}()
		}
		select {}
	},
	// Four that make processes as fast as they can.
	"fork": func(count func()) error {
		for range 4 {
			go func() {
				for {
					cmd := exec.Command("/bin/true")
					if err := cmd.Start(); err != nil {
						continue
					}
					count()
					_ = cmd.Wait()
				}
			}()
		}
		select {}
	},
	"hang": hang,
}

// hang sleeps where nothing but the process's end wakes it, like who waits for a
// file system of a network that is gone: in a write of memory whose content
// somebody else was to bring, who does not.
func hang(begun func()) error {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	memory, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	const uffdioAPI, uffdioRegister, missing = 0xc018aa3f, 0xc020aa00, 1
	api := [3]uint64{0xaa}
	register := [4]uint64{uint64(uintptr(unsafe.Pointer(&memory[0]))), uint64(len(memory)), missing}
	if _, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioAPI, uintptr(unsafe.Pointer(&api))); errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, uffdioRegister, uintptr(unsafe.Pointer(&register)))
	}
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	begun()
	_, err = unix.Write(pipe[1], memory)
	return fmt.Errorf("the write has ended: %w", err)
}
