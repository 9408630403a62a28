package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"understudy.dev/understudy/operator/fence"
	"understudy.dev/understudy/operator/freeze/cgroup"
)

// errMoved is why a session ends whose pod has another network: there is no fence,
// and the local process hears nothing of it.
var errMoved = errors.New("the pod's sandbox was made anew, and its network with it: what is started there is out of the session's reach")

// elsewhere says whether processes are in another network namespace than this one,
// which is the pod's. The error is cgroup.ErrGone if there are none any more.
func elsewhere(pids []int) (bool, error) {
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return false, fmt.Errorf("reading this process's network namespace: %w", err)
	}
	for _, pid := range pids {
		if theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid)); err == nil {
			return theirs != own, nil
		}
	}
	return false, cgroup.ErrGone
}

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
	root, err := fence.Hierarchy()
	if err != nil || f.place == "" {
		return nil
	}
	dir, err := os.Open(filepath.Join(root, filepath.Dir(f.place)))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	slices.Sort(names)
	return names
}
