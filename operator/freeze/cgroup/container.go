package cgroup

import (
	"fmt"
	"slices"
	"strings"
)

// Container names one container of one pod as the pod's status does.
type Container struct {
	// PodUID is the pod's metadata.uid. For a static pod it is the
	// kubernetes.io/config.hash annotation, which is what the kubelet uses.
	PodUID string `json:"podUID"`
	// ID is the runtime's name for it, without the scheme: see ParseID.
	ID string `json:"id"`
}

func (c Container) String() string { return fmt.Sprintf("container %s of pod %s", c.ID, c.PodUID) }

// ParseID splits what a container status has as containerID,
// "containerd://3f2a...", into the runtime's name and the ID.
func ParseID(status string) (runtime, id string, err error) {
	runtime, id, ok := strings.Cut(status, "://")
	if !ok || runtime == "" || !isName(id) {
		return "", "", fmt.Errorf("container ID %q is not of the form runtime://id: the container may not have been started yet", status)
	}
	return runtime, id, nil
}

// check refuses what could not be a container, before it is looked for.
func (c Container) check() error {
	if !isName(c.PodUID) || !isName(c.ID) {
		return fmt.Errorf("%q in pod %q does not name a container", c.ID, c.PodUID)
	}
	return nil
}

// isName tells whether s can be a UID or a container ID.
func isName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.' {
			return false
		}
	}
	return s != "." && s != ".."
}

// place is where a path of the process table lies.
type place struct {
	podUID string
	// id of the container, or of the pod's sandbox.
	id string
	// group is the path of the container's own cgroup.
	group string
	// inner is whether the process is in a cgroup below it: the container has
	// made cgroups of its own, or its runtime has.
	inner bool
}

// locate reads a cgroup's path, and tells in which container of which pod that
// is; false for what is in none.
//
// The first component that names a pod counts, and the one right after it: what
// is deeper may have been made by the container, in the likeness of another.
//
//	/kubepods/burstable/pod<uid>/<id>                                       cgroupfs
//	/kubepods.slice/kubepods-pod<uid>.slice/cri-containerd-<id>.scope       systemd
//	/kubepods.slice/kubepods-pod<uid>.slice/crio-<id>.scope/container       systemd and crun
//	/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod<uid>.slice/… a kubelet with a cgroupRoot, as kind's
//	/system.slice/containerd.service/kubepods-pod<uid>.slice:cri-containerd:<id>
//	                                                a runtime that was not told of systemd
func locate(path string) (place, bool) {
	components := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, component := range components {
		slice, name, joined := strings.Cut(component, ":")
		uid, ok := podUID(slice)
		if !ok {
			continue
		}
		at := i
		if joined {
			_, name, ok = strings.Cut(name, ":")
			if !ok {
				return place{}, false
			}
		} else {
			at++
			if at >= len(components) {
				return place{}, false
			}
			name, ok = scopeID(components[at])
			if !ok {
				return place{}, false
			}
		}
		if !isName(name) {
			return place{}, false
		}
		return place{
			podUID: uid,
			id:     name,
			group:  "/" + strings.Join(components[:at+1], "/"),
			inner:  at+1 < len(components),
		}, true
	}
	return place{}, false
}

// podUID reads the kubelet's name of a pod's cgroup: pod<uid>, or the slice
// kubepods-<class>-pod<uid>.slice in which the UID's dashes are underscores; before
// it are the names of the slices that the kubelet's root is in.
func podUID(component string) (string, bool) {
	if slice, ok := strings.CutSuffix(component, ".slice"); ok {
		at := strings.LastIndex(slice, "-pod")
		if at < 0 || !slices.Contains(strings.Split(slice[:at], "-"), "kubepods") {
			return "", false
		}
		uid := strings.ReplaceAll(slice[at+len("-pod"):], "_", "-")
		return uid, isName(uid)
	}
	uid, ok := strings.CutPrefix(component, "pod")
	return uid, ok && isName(uid) && looksLikeUID(uid)
}

// looksLikeUID keeps a directory that happens to be called "podman" from being
// taken for a pod's: a UID is a UUID, a static pod's is 32 hexadecimal digits.
func looksLikeUID(s string) bool {
	digits := 0
	for _, r := range s {
		switch {
		case r >= '0' && r <= '9', r >= 'a' && r <= 'f':
			digits++
		case r != '-':
			return false
		}
	}
	return digits == 32
}

// scopeID takes what a runtime puts around an ID off it. The process that
// watches over a container is in the pod's slice too, in a scope of its own, and
// is never the container.
func scopeID(component string) (string, bool) {
	scope, ok := strings.CutSuffix(component, ".scope")
	if !ok {
		return component, true
	}
	prefix, id, ok := cutLast(scope, "-")
	if !ok {
		return scope, true
	}
	return id, !strings.HasSuffix(prefix, "conmon")
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
