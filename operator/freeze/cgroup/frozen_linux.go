package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Standing is a container that is frozen, or that somebody has asked the kernel to
// freeze, and in which hierarchy.
type Standing struct {
	Container
	Version Version
	State   State
}

// Frozen lists all of the node's that stand. Where one cannot be looked at the others
// are listed all the same. A kubelet with a cgroup for its root may share the kernel
// with another: then those below the root of the caller's own kubelet are meant.
func (n Node) Frozen() (standing []Standing, err error) {
	places := map[Container]map[Version]place{}
	var errs []error
	err = n.look(func() error {
		self, err := os.ReadFile("/proc/thread-self/cgroup")
		if err != nil {
			return fmt.Errorf("looking where this process is: %w", err)
		}
		mine := parseMembership(string(self))
		for text := range n.memberships() {
			for version, at := range parsePlaces(text) {
				if !within(kubeletRoot(mine[version]), at.group) {
					continue
				}
				c := Container{PodUID: at.podUID, ID: at.id}
				if places[c] == nil {
					places[c] = map[Version]place{}
				}
				places[c][version] = at
			}
		}
		for c, at := range places {
			group, err := n.choose(at)
			if err == nil {
				var state State
				if state, err = group.State(); state.Asked || state.Frozen {
					standing = append(standing, Standing{c, group.Version, state})
				}
				group.Close()
			}
			if err != nil && !errors.Is(err, ErrGone) {
				errs = append(errs, fmt.Errorf("looking whether %v is frozen: %w", c, err))
			}
		}
		return nil
	})
	return standing, errors.Join(append(errs, err)...)
}

// kubeletRoot is what the cgroups of all pods of a kubelet are below, by the path of
// one that is in a pod; "/" for all of the machine, also where it is in none.
func kubeletRoot(path string) string {
	if _, ok := locate(path); !ok {
		return "/"
	}
	components := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, component := range components {
		if _, ok := podUID(component); ok || strings.Contains(component, "kubepods") {
			return "/" + strings.Join(components[:i], "/")
		}
	}
	return "/"
}

func within(root, path string) bool {
	rest, ok := strings.CutPrefix(path, root)
	return ok && (root == "/" || rest == "" || rest[0] == '/')
}
