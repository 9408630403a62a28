package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

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
	if f.raised != nil && f.raised.Equal(scope) {
		return nil
	}
	if err := f.fence.Raise(scope); err != nil {
		return err
	}
	f.raised = &scope
	return nil
}

// follow moves the fence with the pod's other containers: where they are told by users,
// a port that one of them opens is to be let through, and so is a process of a user
// that it had not before.
func (f *frozen) follow() {
	if !f.more && (f.raised == nil || f.raised.ByCgroup()) {
		return
	}
	if f.more {
		f.more, f.expecting = false, time.Time{}
	}
	said := ""
	if err := f.rescope(); err != nil && !errors.Is(err, cgroup.ErrGone) {
		said = err.Error()
	}
	if said != "" && said != f.unmoved {
		f.log.Warn("the fence was not moved", "error", said)
	}
	f.unmoved = said
}

// scope is by cgroup where the node can, else by user.
func (f *frozen) scope() (fence.Scope, error) {
	scope, err := f.scopeOfCgroups()
	if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, cgroup.ErrOtherHierarchy) && !errors.Is(err, fence.ErrIndistinct) {
		return scope, err
	}
	return f.scopeOfUsers()
}

// scopeOfCgroups needs version 2. The error is fs.ErrNotExist where the node has none,
// cgroup.ErrOtherHierarchy where the runtime does not use it, and fence.ErrIndistinct
// where the kernel has no rules for it.
func (f *frozen) scopeOfCgroups() (fence.Scope, error) {
	v2 := cgroup.Node{Version: cgroup.V2}
	root, err := fence.Hierarchy()
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
