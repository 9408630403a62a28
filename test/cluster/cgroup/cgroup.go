// Package cgroup keeps everything that the test cluster runs below one cgroup,
// in every hierarchy the machine has, so that what is left over of a cluster can
// be found by asking the kernel and by nothing else.
//
// It knows three arrangements: version 2 alone, version 1 with the version 2
// hierarchy beside it (hybrid), and version 1 alone.
package cgroup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is the machine's cgroup file system.
type Host struct {
	// Mount is where the file system is mounted, /sys/fs/cgroup.
	Mount string
}

// Hierarchies returns the root folder of every hierarchy, version 2 first where
// there is one.
func (h Host) Hierarchies() ([]string, error) {
	if isUnified(h.Mount) {
		return []string{h.Mount}, nil
	}
	entries, err := os.ReadDir(h.Mount)
	if err != nil {
		return nil, fmt.Errorf("listing cgroup hierarchies: %w", err)
	}
	var unified, controllers []string
	for _, entry := range entries {
		root := filepath.Join(h.Mount, entry.Name())
		// Names such as cpu -> cpu,cpuacct are links to one hierarchy.
		if !entry.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, "cgroup.procs")); err != nil {
			continue
		}
		if isUnified(root) {
			unified = append(unified, root)
		} else {
			controllers = append(controllers, root)
		}
	}
	if len(unified)+len(controllers) == 0 {
		return nil, fmt.Errorf("listing cgroup hierarchies: none below %s", h.Mount)
	}
	return append(unified, controllers...), nil
}

func isUnified(root string) bool {
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	return err == nil
}

// Make creates a cgroup in every hierarchy. A version 1 cpuset starts empty and
// lets nobody in, so it takes over its parent's processors and memory nodes; a
// version 2 cgroup gets its parent's controllers.
func (h Host) Make(name string) error {
	hierarchies, err := h.Hierarchies()
	if err != nil {
		return err
	}
	for _, root := range hierarchies {
		path := root
		for part := range strings.SplitSeq(name, "/") {
			parent := path
			path = filepath.Join(path, part)
			if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("making cgroup %s: %w", path, err)
			}
			if err := inherit(parent, path); err != nil {
				return fmt.Errorf("making cgroup %s: %w", path, err)
			}
		}
	}
	return nil
}

func inherit(parent, child string) error {
	if isUnified(child) {
		controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for controller := range strings.FieldsSeq(string(controllers)) {
			// A controller that can not be delegated is not one that a kubelet asks for.
			_ = os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+controller), 0)
		}
		return nil
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(child, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(own)) > 0 {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(child, file), value, 0); err != nil {
			return err
		}
	}
	return nil
}

// Join moves a process into a cgroup of every hierarchy.
func (h Host) Join(name string, pid int) error {
	hierarchies, err := h.Hierarchies()
	if err != nil {
		return err
	}
	for _, root := range hierarchies {
		path := filepath.Join(root, name, "cgroup.procs")
		if err := os.WriteFile(path, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("moving process %d to cgroup %s: %w", pid, name, err)
		}
	}
	return nil
}

// Processes returns the ids of every process in a cgroup and below it, in any
// hierarchy.
func (h Host) Processes(name string) ([]int, error) {
	hierarchies, err := h.Hierarchies()
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{}
	var pids []int
	for _, root := range hierarchies {
		err := walk(filepath.Join(root, name), func(folder string) error {
			content, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
				return nil
			}
			if err != nil {
				return err
			}
			for field := range strings.FieldsSeq(string(content)) {
				pid, err := strconv.Atoi(field)
				// 0 stands for a process of another PID namespace's outside.
				if err != nil || pid == 0 || seen[pid] {
					continue
				}
				seen[pid] = true
				pids = append(pids, pid)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing processes of cgroup %s: %w", name, err)
		}
	}
	return pids, nil
}

// Destroy ends every process of a cgroup and removes it, with all below it, from
// every hierarchy. Frozen processes are thawed first: in version 1 not even
// SIGKILL reaches a frozen one.
func (h Host) Destroy(ctx context.Context, name string) error {
	hierarchies, err := h.Hierarchies()
	if err != nil {
		return err
	}
	for {
		for _, root := range hierarchies {
			if err := walk(filepath.Join(root, name), thaw); err != nil {
				return fmt.Errorf("thawing cgroup %s: %w", name, err)
			}
		}
		pids, err := h.Processes(name)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("ending process %d: %w", pid, err)
			}
		}
		// New ones may have been forked meanwhile, so look again.
		if err := pause(ctx); err != nil {
			return fmt.Errorf("ending processes %v of cgroup %s: %w", pids, name, err)
		}
	}
	for _, root := range hierarchies {
		for {
			err := remove(filepath.Join(root, name))
			if err == nil {
				break
			}
			// The kernel lets go of a dead process's cgroup a moment later.
			if waited := pause(ctx); waited != nil {
				return fmt.Errorf("removing cgroup %s: %w", name, err)
			}
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(10 * time.Millisecond):
		return nil
	}
}

func thaw(folder string) error {
	for file, value := range map[string]string{"freezer.state": "THAWED", "cgroup.freeze": "0"} {
		path := filepath.Join(folder, file)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		err := os.WriteFile(path, []byte(value), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return nil
}

func remove(folder string) error {
	var folders []string
	err := walk(folder, func(folder string) error {
		folders = append(folders, folder)
		return nil
	})
	if err != nil {
		return err
	}
	for i := len(folders) - 1; i >= 0; i-- {
		if err := os.Remove(folders[i]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// walk calls visit on a folder and every folder below it, parents first; a
// folder that is not there, or that goes away meanwhile, is nothing to visit.
func walk(folder string, visit func(string) error) error {
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			return nil
		}
		return visit(path)
	})
	return err
}
