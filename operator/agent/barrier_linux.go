package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/cgroup"
)

// raise makes the fence in the pod's network namespace, in which this process is,
// and has the kubelet's probes answered.
func (f *frozen) raise() error {
	ns, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return fmt.Errorf("opening the pod's network namespace: %w", err)
	}
	defer ns.Close()
	if f.fence, err = fence.New(ns, f.config.Session, fence.Options{}); err != nil || f.attaches() {
		return err
	}
	if err := f.rescope(); err != nil {
		return err
	}
	if probes := f.config.Freeze.Probes; len(probes) > 0 {
		return f.fence.Answer(probes, f.config.Freeze.ProbesInPod)
	}
	return nil
}

// rescope refuses new connections to the whole pod but its other containers, and
// to nobody where the container goes on running.
func (f *frozen) rescope() error {
	if f.attaches() {
		return nil
	}
	scope, err := f.scope()
	if err != nil {
		return fmt.Errorf("keeping the container's new connections back: %w", err)
	}
	return f.fence.Raise(scope)
}

func (f *frozen) scope() (fence.Scope, error) {
	v2 := cgroup.Node{Version: cgroup.V2}
	root, err := fence.Hierarchy()
	if errors.Is(err, os.ErrNotExist) {
		return f.scopeOfUsers()
	}
	if err != nil {
		return fence.Scope{}, err
	}
	target, err := pathOf(v2, f.present())
	switch {
	case err == nil:
		f.place, f.podDir = target, filepath.Join(root, filepath.Dir(target))
	case f.place == "" || !errors.Is(err, cgroup.ErrGone):
		return fence.Scope{}, err
	}
	var spared []string
	for id, other := range f.others {
		if !other {
			continue
		}
		path, err := pathOf(v2, cgroup.Container{PodUID: f.config.Freeze.PodUID, ID: id})
		if errors.Is(err, cgroup.ErrGone) {
			continue
		}
		if err != nil {
			return fence.Scope{}, err
		}
		spared = append(spared, path)
	}
	return fence.ScopeOf(root, f.place, spared...)
}

// scopeOfUsers is for a node without cgroup version 2.
func (f *frozen) scopeOfUsers() (fence.Scope, error) {
	target, err := usersOf(f.node, f.present())
	if err != nil {
		return fence.Scope{}, err
	}
	var users []uint32
	for id, other := range f.others {
		if !other {
			continue
		}
		theirs, err := usersOf(f.node, cgroup.Container{PodUID: f.config.Freeze.PodUID, ID: id})
		if errors.Is(err, cgroup.ErrGone) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fence.Scope{}, err
		}
		users = append(users, theirs...)
	}
	endpoints, err := f.pod.loopbackPorts()
	if err != nil {
		return fence.Scope{}, err
	}
	var ports []uint16
	for _, e := range endpoints {
		ports = append(ports, e.Port)
	}
	slices.Sort(users)
	return fence.ScopeOfUsers(target, slices.Compact(users), ports)
}

// present is the container that is held now.
func (f *frozen) present() cgroup.Container {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.target
}

func pathOf(node cgroup.Node, c cgroup.Container) (string, error) {
	group, err := node.Find(c)
	if err != nil {
		return "", err
	}
	defer group.Close()
	return group.Path, nil
}

// usersOf are those whose sockets a container's processes open, or may open: what
// a process has been it can mostly be again.
func usersOf(node cgroup.Node, c cgroup.Container) ([]uint32, error) {
	pids, err := processes(node, c)
	if err != nil {
		return nil, err
	}
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

// closeFence takes the fence down. It may have been taken down already.
func (f *frozen) closeFence() error {
	if f.fence == nil {
		return nil
	}
	began := time.Now()
	err := f.fence.Close()
	f.log.Info("fence taken down", "took", time.Since(began).String(), "error", err)
	return err
}
