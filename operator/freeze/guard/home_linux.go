package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

// home is the cgroup, below the root of each hierarchy, in which guards live: in
// no pod, so that neither the kubelet nor a runtime ends them with one.
const home = "understudy"

// room is the name of a guard's own cgroup in there.
func room(session string, pid int) string { return fmt.Sprintf("%s.%d", session, pid) }

// settle moves a guard into a cgroup of its own in each hierarchy of the node,
// and makes sure that it is in no pod's any more.
func settle(node cgroup.Node, pid int, session string) error {
	var errs []error
	for _, root := range node.Roots() {
		err := join(filepath.Join(root, home), room(session, pid), pid)
		for again := 0; errors.Is(err, fs.ErrNotExist) && again < 10; again++ {
			// The last guard that was there has just cleaned up behind itself.
			err = join(filepath.Join(root, home), room(session, pid), pid)
		}
		errs = append(errs, err)
	}
	in, err := node.Within(pid)
	if err != nil {
		return fmt.Errorf("looking where the guard is: %w", errors.Join(append(errs, err)...))
	}
	if in {
		return fmt.Errorf("moving the guard out of the pod: %w", errors.Join(append(errs, errors.New("it is still in there"))...))
	}
	return nil
}

// join makes the cgroup parent/name and moves the process there.
func join(parent, name string, pid int) error {
	dir := filepath.Join(parent, name)
	for _, made := range []string{parent, dir} {
		if err := os.Mkdir(made, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// In version 1 nothing can join a cgroup that was given no processors
		// and no memory nodes.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(made, file); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

func inherit(dir, file string) error {
	path := filepath.Join(dir, file)
	own, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(own)) != "" {
		return nil // no such controller here, or set
	}
	parents, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
	if err != nil {
		return nil // the root of version 2
	}
	if _, err := os.Stat(filepath.Join(dir, file+".effective")); err == nil {
		return nil // version 2, where empty means the parent's
	}
	return os.WriteFile(path, parents, 0)
}

// vacate takes a guard's cgroups away, its last process being the guard or none.
func vacate(node cgroup.Node, pid int, session string) {
	for _, root := range node.Roots() {
		dir := filepath.Join(root, home, room(session, pid))
		if procs, err := os.ReadFile(filepath.Join(dir, "cgroup.procs")); err == nil &&
			slices.Contains(strings.Fields(string(procs)), strconv.Itoa(pid)) {
			_ = os.WriteFile(filepath.Join(root, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
		}
		os.Remove(dir)
		os.Remove(filepath.Dir(dir)) // stays while there are others
	}
}

// leave takes the guard's own cgroups away, the last thing that it does.
func (g *process) leave() {
	if g.record != nil {
		vacate(g.undoer.Node, os.Getpid(), g.record.Session)
	}
}

// Sweep takes away what guards that were killed have left of themselves: cgroups
// in which no process is.
func Sweep(node cgroup.Node) {
	for _, root := range node.Roots() {
		rooms, err := os.ReadDir(filepath.Join(root, home))
		if err != nil {
			continue
		}
		for _, room := range rooms {
			if room.IsDir() {
				os.Remove(filepath.Join(root, home, room.Name()))
			}
		}
		os.Remove(filepath.Join(root, home))
	}
}
