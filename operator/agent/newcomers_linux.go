package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"understudy.dev/understudy/operator/freeze/cgroup"
)

// errMoved is why a session ends whose pod has another network: there is no fence,
// and the local process hears nothing of it.
var errMoved = errors.New("the pod's sandbox was made anew, and its network with it: what is started there is out of the session's reach")

// elsewhere says whether a container's processes are in another network namespace
// than this thread, which is in the pod's. One that is in its parent's tells nothing: the
// runtime's is in the node's, until it has entered the pod's. The error is
// cgroup.ErrGone if no other is there.
func elsewhere(pids []int) (bool, error) {
	own, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("reading this process's network namespace: %w", err)
	}
	err = cgroup.ErrGone
	for _, pid := range pids {
		theirs, failed := networkOf(pid)
		if failed != nil {
			continue // it has ended
		}
		if theirs == own {
			return false, nil
		}
		parent, _, failed := originOf(pid)
		if failed != nil {
			continue
		}
		if parents, failed := networkOf(parent); failed == nil && parents != theirs {
			err = nil
		}
	}
	return err == nil, err
}

// networkOf is what the kernel calls a process's network namespace.
func networkOf(pid int) (string, error) { return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)) }

// news tells whether something in the pod is about to begin, or just has: a cgroup
// has come or gone.
func (f *frozen) news() bool {
	if groups := f.siblings(); !slices.Equal(groups, f.groups) {
		f.groups, f.expecting = groups, time.Now().Add(newsFor)
	}
	return time.Now().Before(f.expecting)
}

// siblings are the names in the pod's cgroup; none where it is not known.
func (f *frozen) siblings() []string {
	dir, err := os.Open(f.podDir)
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	slices.Sort(names)
	return names
}
