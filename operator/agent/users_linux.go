package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/cgroup"
)

// scopeOfUsers is for a node that does not tell the pod's containers by cgroup: one
// without version 2, or whose runtime or kernel does not use it for that.
func (f *frozen) scopeOfUsers() (fence.Scope, error) {
	target, err := usersOf(f.node, f.present())
	if err != nil {
		return fence.Scope{}, err
	}
	others, err := f.otherProcesses()
	if err != nil {
		return fence.Scope{}, err
	}
	var users []uint32
	var listeners []fence.Listener
	for _, pids := range others {
		theirs, err := usersOfAll(pids)
		if err != nil && !errors.Is(err, cgroup.ErrGone) {
			return fence.Scope{}, err
		}
		users = append(users, theirs...)
		waiting, err := f.pod.listenersOf(pids)
		if err != nil {
			return fence.Scope{}, err
		}
		listeners = append(listeners, waiting...)
	}
	all := slices.Concat(slices.Collect(maps.Values(others))...)
	held, err := f.pids()
	if err != nil {
		return fence.Scope{}, err
	}
	mapped, err := usersOfNetwork("/proc/self/ns/net", append(all, held...))
	if err != nil {
		return fence.Scope{}, err
	}
	target, users = mapped.users(target), mapped.users(users)
	slices.Sort(users)
	slices.SortFunc(listeners, func(a, b fence.Listener) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(fmt.Sprint(a.UDP), fmt.Sprint(b.UDP)))
	})
	return fence.ScopeOfUsers(target, slices.Compact(users), slices.Compact(listeners))
}

// listenersOf are the sockets that processes of the pod wait for peers with. A client's,
// such as a resolver's, is none.
func (p *pod) listenersOf(pids []int) ([]fence.Listener, error) {
	theirs, err := socketsOfAll(pids)
	if err != nil {
		return nil, fmt.Errorf("reading a container's sockets: %w", err)
	}
	sockets, err := p.sockets()
	if err != nil {
		return nil, fmt.Errorf("reading the pod's sockets: %w", err)
	}
	ephemeral := ephemeralFrom(p.path("proc/sys/net/ipv4/ip_local_port_range"))
	var listeners []fence.Listener
	for _, s := range sockets {
		udp := s.network == "udp"
		if theirs[s.inode] && !(udp && s.local.Port() >= ephemeral) {
			listeners = append(listeners, fence.Listener{UDP: udp, At: s.local})
		}
	}
	return listeners, nil
}

// otherProcesses are those of the pod's other containers that run, by container. Its
// sandbox is none: it opens no socket, and is of the pod's own user, which the target
// may be too.
func (f *frozen) otherProcesses() (map[string][]int, error) {
	all, since := map[string][]int{}, map[string]uint64{}
	for id := range f.others {
		pids, err := processes(f.node, cgroup.Container{PodUID: f.config.Freeze.PodUID, ID: id})
		if errors.Is(err, cgroup.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all[id], since[id] = pids, startOf(pids)
	}
	for id := range all {
		if !f.others[id] || isSandbox(id, since) && containerName(all[id], f.config.Freeze.PodUID) == "" {
			delete(all, id)
		}
	}
	return all, nil
}

// isSandbox tells a sandbox, among what has no name, by having been there before all
// of the pod's containers. Some runtimes make none.
func isSandbox(id string, since map[string]uint64) bool {
	for other, began := range since {
		if other != id && began <= since[id] {
			return false
		}
	}
	return len(since) > 1
}

// startOf the oldest of some processes; the greatest number where none is left.
func startOf(pids []int) uint64 {
	oldest := uint64(math.MaxUint64)
	for _, pid := range pids {
		if _, started, err := originOf(pid); err == nil {
			oldest = min(oldest, started)
		}
	}
	return oldest
}

// usersOf are those whose sockets a container's processes open, or may open: what
// a process has been it can mostly be again.
func usersOf(node cgroup.Node, c cgroup.Container) ([]uint32, error) {
	pids, err := processes(node, c)
	if err != nil {
		return nil, err
	}
	return usersOfAll(pids)
}

func usersOfAll(pids []int) ([]uint32, error) {
	var users []uint32
	for _, pid := range pids {
		// Not by who owns its folder: that is root for one that may not be looked at.
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return nil, fmt.Errorf("looking at process %d: %w", pid, err)
		}
		of, err := usersIn(string(status))
		if err != nil {
			return nil, fmt.Errorf("looking at process %d: %w", pid, err)
		}
		users = append(users, of...)
	}
	if len(users) == 0 {
		return nil, cgroup.ErrGone
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// usersIn are the real, the effective, the saved and the file system's user of
// what the kernel says of a process.
func usersIn(status string) ([]uint32, error) {
	for line := range strings.Lines(status) {
		ids, ok := strings.CutPrefix(line, "Uid:")
		if !ok {
			continue
		}
		var users []uint32
		for _, field := range strings.Fields(ids) {
			user, err := strconv.ParseUint(field, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("line %q: %w", line, err)
			}
			users = append(users, uint32(user))
		}
		return users, nil
	}
	return nil, errors.New("it is not said whose it is")
}
