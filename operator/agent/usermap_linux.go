package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// userMap translates from the users of this process's user namespace to those of
// another, as /proc/PID/uid_map has it. The zero value is for the same namespace.
type userMap []struct{ inside, outside, count uint32 }

// unmapped is the user that the kernel shows in a namespace that has no number for it,
// unless somebody has said another (/proc/sys/kernel/overflowuid).
const unmapped = 65534

// users as the other namespace calls them.
func (m userMap) users(outside []uint32) []uint32 {
	if m == nil {
		return outside
	}
	var inside []uint32
	for _, user := range outside {
		to := uint32(unmapped)
		for _, line := range m {
			if user >= line.outside && user-line.outside < line.count {
				to = line.inside + (user - line.outside)
			}
		}
		inside = append(inside, to)
	}
	slices.Sort(inside)
	return slices.Compact(inside)
}

// usersOfNetwork translates users for rules in a network namespace: the kernel counts
// them there as the user namespace does that the network is of, which is a pod's own
// one with hostUsers: false. Its numbers are read from one of the pod's processes.
func usersOfNetwork(path string, pids []int) (userMap, error) {
	network, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the pod's network namespace: %w", err)
	}
	defer network.Close()
	fd, err := unix.IoctlRetInt(int(network.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return nil, fmt.Errorf("looking for the user namespace of the pod's network: %w", err)
	}
	owner := os.NewFile(uintptr(fd), "user namespace")
	defer owner.Close()
	own, err := isNamespace(owner, "/proc/self/ns/user")
	if err != nil {
		return nil, fmt.Errorf("reading this process's user namespace: %w", err)
	}
	if own {
		return nil, nil
	}
	for _, pid := range pids {
		if in, err := isNamespace(owner, fmt.Sprintf("/proc/%d/ns/user", pid)); err != nil || !in {
			continue // it has ended, or has made one of its own
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
		if err != nil {
			continue
		}
		return parseUserMap(string(text))
	}
	return nil, errors.New("none of the pod's processes is in the user namespace that its network is of (hostUsers: false), so that their users cannot be told there")
}

// isNamespace says whether a process's file is of that namespace.
func isNamespace(ns *os.File, path string) (bool, error) {
	its, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	this, err := ns.Stat()
	return err == nil && os.SameFile(this, its), err
}

func parseUserMap(text string) (userMap, error) {
	m := userMap{}
	for line := range strings.Lines(text) {
		m = append(m, struct{ inside, outside, count uint32 }{})
		last := &m[len(m)-1]
		if _, err := fmt.Sscan(line, &last.inside, &last.outside, &last.count); err != nil {
			return nil, fmt.Errorf("line %q of a user map: %w", line, err)
		}
	}
	return m, nil
}
