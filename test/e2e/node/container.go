// Package node looks at a container from the machine on which the test
// cluster's nodes are processes: the kernel's freezers, the rules in the pod's
// network, the processes. Nothing is asked by way of what is tested.
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	core "k8s.io/api/core/v1"
)

// Container is one container of a pod, as the kernel has it.
type Container struct {
	id      string
	groups  []string // its folder in each cgroup hierarchy
	network *os.File // of the pod; it stays when the pod goes
}

// Open finds a container that runs. Close it.
func Open(pod *core.Pod, container string) (*Container, error) {
	c := &Container{}
	for _, status := range pod.Status.ContainerStatuses {
		if status.Name == container {
			_, c.id, _ = strings.Cut(status.ContainerID, "://")
		}
	}
	if c.id == "" {
		return nil, fmt.Errorf("container %s of pod %s has no ID", container, pod.Name)
	}
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil //nolint:nilerr // cgroups come and go
		}
		if entry.Name() != c.id {
			return nil
		}
		c.groups = append(c.groups, path)
		return fs.SkipDir
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the cgroups of container %s: %w", container, err)
	}
	pids := c.Processes()
	if len(pids) == 0 {
		return nil, fmt.Errorf("container %s of pod %s has no process on this machine", container, pod.Name)
	}
	c.network, err = os.Open(fmt.Sprintf("/proc/%d/ns/net", pids[0]))
	return c, err
}

// Root is the container's root folder, as its own processes have it.
func (c *Container) Root() string {
	pids := c.Processes()
	if len(pids) == 0 {
		return "/nonexistent"
	}
	return fmt.Sprintf("/proc/%d/root", pids[0])
}

// Close lets go of the pod's network.
func (c *Container) Close() error { return c.network.Close() }

// Frozen asks the kernel. A container that has ended is not.
func (c *Container) Frozen() bool { return len(c.FrozenIn()) > 0 }

// FrozenIn are the versions of the hierarchies ("v1", "v2") that have it frozen.
func (c *Container) FrozenIn() []string {
	var in []string
	for _, freezer := range []struct{ version, file, word string }{
		{"v1", "freezer.state", "FROZEN"}, {"v2", "cgroup.events", "frozen 1"},
	} {
		for _, group := range c.groups {
			if data, err := os.ReadFile(filepath.Join(group, freezer.file)); err == nil && strings.Contains(string(data), freezer.word) {
				in = append(in, freezer.version)
			}
		}
	}
	return in
}

// WriteOnce measures one write that freezes the container, without waiting for
// what comes of it, and thaws it.
func (c *Container) WriteOnce() (took time.Duration, err error) {
	for _, group := range c.groups {
		file, err := os.OpenFile(filepath.Join(group, "cgroup.freeze"), os.O_WRONLY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		defer file.Close()
		began := time.Now()
		_, err = file.WriteString("1")
		took = time.Since(began)
		_, thawed := file.WriteString("0")
		return took, errors.Join(err, thawed)
	}
	return 0, errors.New("the container has no cgroup of version 2")
}

// Rules are the tables of Understudy's in the pod's network.
func (c *Container) Rules() ([]string, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(c.network.Fd())))
	if err != nil {
		return nil, fmt.Errorf("entering the pod's network: %w", err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("listing the tables in the pod's network: %w", err)
	}
	var found []string
	for _, table := range tables {
		if strings.Contains(table.Name, "understudy") {
			found = append(found, table.Name)
		}
	}
	return found, nil
}

// Processes of the container.
func (c *Container) Processes() []int {
	var pids []int
	for _, group := range c.groups {
		data, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(data)) {
			// 0 is a process that this machine's own numbers do not reach.
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		if len(pids) > 0 {
			break
		}
	}
	return pids
}

// Kill sends a signal to all of its processes, without a word to Kubernetes.
func (c *Container) Kill(signal syscall.Signal) error {
	pids := c.Processes()
	if len(pids) == 0 {
		return errors.New("the container has no process")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("killing process %d: %w", pid, err)
		}
	}
	return nil
}

// KillSandbox kills what the pod's runtime keeps the pod's network with, which is in
// the pod beside its containers, and in this pod of one container all the rest.
func (c *Container) KillSandbox() error {
	sandbox := &Container{}
	for _, group := range c.groups {
		others, err := os.ReadDir(filepath.Dir(group))
		if err != nil {
			return fmt.Errorf("looking beside container %s: %w", c.id, err)
		}
		for _, other := range others {
			if other.IsDir() && other.Name() != c.id {
				sandbox.groups = append(sandbox.groups, filepath.Join(filepath.Dir(group), other.Name()))
			}
		}
	}
	return sandbox.Kill(syscall.SIGKILL)
}
