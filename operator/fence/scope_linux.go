package fence

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Cgroup is one of the version 2 hierarchy, as the kernel knows it.
type Cgroup struct {
	// ID is the inode of its directory.
	ID uint64
	// Level is its depth; the root's is 0.
	Level uint32
}

// Scope says whose new connections are refused in a pod's network namespace. The
// zero value is everybody's but the agent's.
type Scope struct {
	// Pod is the pod's cgroup, if it has one of its own.
	Pod Cgroup
	// Spared are the cgroups of the containers that are not refused, each one
	// level below Pod.
	Spared []Cgroup

	// SparedUsers are the user IDs whose processes are not refused to connect, and
	// Listeners those that others may connect to, and that are not stolen. Where Pod
	// is set they are of no meaning.
	SparedUsers []uint32
	Listeners   []Listener
}

// ByCgroup says whether the pod's containers are told apart by their cgroups.
func (s Scope) ByCgroup() bool { return s.Pod.ID != 0 }

// Equal says whether two refuse the same.
func (s Scope) Equal(other Scope) bool {
	return s.Pod == other.Pod && slices.Equal(s.Spared, other.Spared) &&
		slices.Equal(s.SparedUsers, other.SparedUsers) && slices.Equal(s.Listeners, other.Listeners)
}

// Listener is a socket that another container waits for peers with.
type Listener struct {
	UDP bool // else TCP
	// At an unspecified address is for all of its family, and that of IPv6 for IPv4
	// too: the kernel does not tell which of these take it.
	At netip.AddrPort
}

// ErrIndistinct is said where the kernel cannot tell the target from the pod's
// other containers, so that it cannot be fenced without them.
var ErrIndistinct = errors.New("its connections cannot be told from those of the pod's other containers")

// Hierarchy is where the root of the cgroup version 2 hierarchy is on this machine,
// or in a pod that the node's /sys/fs/cgroup is mounted into. The error is
// fs.ErrNotExist where there is only version 1.
func Hierarchy() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir, nil
		}
	}
	return "", fmt.Errorf("looking for cgroup version 2: %w", os.ErrNotExist)
}

// ScopeOf fences all of a pod but the spared containers. Paths are those of
// containers' cgroups in the hierarchy whose root is the directory root. The error
// is ErrIndistinct if the target has no cgroup of its own in it, or the kernel no
// rules for that.
func ScopeOf(root, target string, spared ...string) (Scope, error) {
	pod := path.Dir(path.Clean("/" + target))
	// A pod's cgroup is at least two below the root: one next to it, or that of a
	// runtime which puts containers right beside itself, is not the pod's alone.
	if depth(pod) < 2 || !strings.Contains(path.Base(pod), "pod") {
		return Scope{}, fmt.Errorf("%w: cgroup %q is not in one of a pod", ErrIndistinct, target)
	}
	offset, err := levelOffset(root)
	if err != nil {
		return Scope{}, err
	}
	var scope Scope
	if scope.Pod, err = cgroupAt(root, pod); err != nil {
		return Scope{}, fmt.Errorf("looking at the pod's cgroup: %w", err)
	}
	scope.Pod.Level += uint32(offset)
	for _, other := range spared {
		other = path.Clean("/" + other)
		if path.Dir(other) != pod || other == path.Clean("/"+target) {
			return Scope{}, fmt.Errorf("%w: cgroup %q is not another container's of the pod of %q", ErrIndistinct, other, target)
		}
		group, err := cgroupAt(root, other)
		if errors.Is(err, os.ErrNotExist) {
			continue // it has ended
		}
		if err != nil {
			return Scope{}, fmt.Errorf("looking at another container's cgroup: %w", err)
		}
		group.Level += uint32(offset)
		scope.Spared = append(scope.Spared, group)
	}
	return scope, nil
}

// ScopeOfUsers fences a pod by the users that its other containers run as, and the
// sockets that they listen with. The error is ErrIndistinct if any of the target's
// processes runs as one of them.
func ScopeOfUsers(target, others []uint32, listeners []Listener) (Scope, error) {
	for _, user := range target {
		if slices.Contains(others, user) {
			return Scope{}, fmt.Errorf("%w: both run as user %d, and the node's kernel does not tell its containers' sockets apart (it needs cgroup version 2 for the pod, and Linux 5.13)", ErrIndistinct, user)
		}
	}
	return Scope{SparedUsers: others, Listeners: listeners}, nil
}

func cgroupAt(root, group string) (Cgroup, error) {
	var stat unix.Stat_t
	dir := filepath.Join(root, group)
	if err := unix.Stat(dir, &stat); err != nil {
		return Cgroup{}, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	return Cgroup{ID: stat.Ino, Level: uint32(depth(group))}, nil
}

// depth of a clean absolute path; the root's is 0.
func depth(group string) int {
	if group == "/" {
		return 0
	}
	return strings.Count(group, "/")
}
