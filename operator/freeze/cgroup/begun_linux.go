package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Begun tells whether the container runs its own program already. Until then the
// runtime's is in there, and freezing that would wedge the runtime, which waits
// for it.
//
// A program is the container's own when it comes from a file system that is
// mounted in the container: the runtime's comes from the node, or from memory.
func (g *Group) Begun() (bool, error) {
	pids, err := g.PIDs()
	if err != nil {
		return false, err
	}
	for _, pid := range pids {
		own, err := runsOwnProgram(pid)
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
			return false, fmt.Errorf("looking whether %v has begun: %w", g, err)
		}
		if own {
			return true, nil
		}
	}
	return false, nil
}

func runsOwnProgram(pid int) (bool, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fd, err := unix.Open(filepath.Join(dir, "exe"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, err
	}
	exe := os.NewFile(uintptr(fd), "exe")
	defer exe.Close()
	id, err := mountID(exe)
	if err != nil {
		return false, err
	}
	mounts, err := os.ReadFile(filepath.Join(dir, "mountinfo"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(mounts)) {
		if first, _, _ := strings.Cut(line, " "); first == id {
			return true, nil
		}
	}
	return false, nil
}
