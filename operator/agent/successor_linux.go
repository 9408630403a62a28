package agent

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

// pids are the processes of the container that is held now.
func (f *frozen) pids() ([]int, error) {
	f.mu.Lock()
	target := f.target
	f.mu.Unlock()
	return processes(f.node, target)
}

func processes(node cgroup.Node, c cgroup.Container) ([]int, error) {
	group, err := node.Find(c)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	pids, err := group.PIDs()
	if err == nil && len(pids) == 0 {
		err = cgroup.ErrGone
	}
	return pids, err
}

// successor is the container that the kubelet has started in the target's place,
// once it runs its own program: to freeze it earlier would wedge its runtime.
// What bears another name is another of the pod's containers, and of what has
// none to be seen that which was there while the target itself still was.
func (f *frozen) successor() (cgroup.Container, bool, error) {
	containers, err := f.node.Containers(f.config.Freeze.PodUID)
	if err != nil {
		return cgroup.Container{}, false, err
	}
	f.mu.Lock()
	last := f.target.ID
	f.mu.Unlock()
	for _, c := range containers {
		if f.others[c.ID] || c.ID == last {
			continue
		}
		group, err := f.node.Find(c)
		if errors.Is(err, cgroup.ErrGone) {
			continue
		}
		if err != nil {
			return c, false, err
		}
		pids, err := group.PIDs()
		begun := false
		if err == nil {
			begun, err = group.Begun()
		}
		group.Close()
		if errors.Is(err, cgroup.ErrGone) || err == nil && !begun {
			continue
		}
		if err != nil {
			return c, false, err
		}
		// Its sandbox too is one of those that have begun, and the first of them.
		moved, err := elsewhere(pids)
		if errors.Is(err, cgroup.ErrGone) {
			continue
		}
		if err != nil || moved {
			return c, false, cmp.Or(err, errMoved)
		}
		another, err := f.isAnother(containerName(pids, f.config.Freeze.PodUID))
		if err != nil {
			return c, false, err
		}
		if another {
			f.others[c.ID], f.more = true, true
			continue
		}
		return c, true, nil
	}
	return cgroup.Container{}, false, nil
}

// isAnother says of a new container of that name whether it is not in the
// target's place. The target is looked at now, after the new one was found: by
// what was seen of it before, one that was killed and started again since would
// pass for another, and be let through the fence for good.
func (f *frozen) isAnother(name string) (bool, error) {
	if name != "" {
		return name != f.config.Freeze.Container, nil
	}
	_, err := f.pids()
	if errors.Is(err, cgroup.ErrGone) {
		return false, nil
	}
	return err == nil, err
}

// containerName is what the kubelet calls the container of these processes: it
// mounts a file for the last word into each, from a folder of the container's
// name. Empty where it was told not to.
func containerName(pids []int, podUID string) string {
	for _, pid := range pids {
		file, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			continue
		}
		name := nameIn(bufio.NewScanner(file), podUID)
		file.Close()
		if name != "" {
			return name
		}
	}
	return ""
}

func nameIn(mounts *bufio.Scanner, podUID string) string {
	for mounts.Scan() {
		fields := strings.Fields(mounts.Text())
		if len(fields) < 5 {
			continue
		}
		// The mount's root within its file system: .../pods/UID/containers/NAME/FILE
		if _, rest, ok := strings.Cut(fields[3], "/pods/"+podUID+"/containers/"); ok {
			if name, _, ok := strings.Cut(rest, "/"); ok && name != "" {
				return name
			}
		}
	}
	return ""
}

// pendingSignals of a process and of its first thread, a bit each.
func pendingSignals(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	pending := uint64(0)
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if key == "SigPnd" || key == "ShdPnd" {
			bits, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: line %q: %w", path, lines.Text(), err)
			}
			pending |= bits
		}
	}
	return pending, lines.Err()
}

// firstOf is a container's first process: the one whose parent is not in it.
// Where there are several the oldest counts: exec'd ones come later.
func firstOf(pids []int) int {
	in := map[int]bool{}
	for _, pid := range pids {
		in[pid] = true
	}
	first, since := 0, uint64(0)
	for _, pid := range pids {
		parent, started, err := originOf(pid)
		if err != nil || in[parent] {
			continue
		}
		// Those of one moment by their numbers, which may have begun anew.
		if first == 0 || started < since || started == since && pid < first {
			first, since = pid, started
		}
	}
	return first
}

// originOf is a process's parent, and when it was started, in ticks since the boot.
func originOf(pid int) (parent int, started uint64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name, in brackets, may itself have brackets and blanks. Behind it are the
	// fields from the third on, the parent's the fourth and the start's the 22nd.
	_, rest, ok := cutLast(string(data), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, 0, fmt.Errorf("/proc/%d/stat is %q", pid, data)
	}
	if parent, err = strconv.Atoi(fields[1]); err != nil {
		return 0, 0, err
	}
	started, err = strconv.ParseUint(fields[19], 10, 64)
	return parent, started, err
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// socketsOfAll are the inodes of the sockets that processes have open.
func socketsOfAll(pids []int) (map[uint64]bool, error) {
	all := map[uint64]bool{}
	for _, pid := range pids {
		sockets, err := socketsOf(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for inode := range sockets {
			all[inode] = true
		}
	}
	return all, nil
}
