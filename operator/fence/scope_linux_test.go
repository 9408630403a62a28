package fence

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's count of levels is ours, in a cgroup namespace too, and where it
// cannot be found out it is said.
func TestLevels(t *testing.T) {
	w := newWorld(t)
	deep := w.container("deep", targetUser)
	deep.expect("ok 0", "level %s", w.root)
	// In a namespace of its own a process is at the root, wherever that is.
	apart := w.containerWith("apart", syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWCGROUP})
	apart.expect("ok 0", "level %s", filepath.Join(w.root, apart.group))
	if answer := apart.ask("level %s", w.root); answer[:2] == "ok" {
		t.Errorf("a cgroup that is not the process's own is taken for it: %s", answer)
	}
}

func TestScopeOf(t *testing.T) {
	w := newWorld(t)
	target, sidecar := w.container("target", targetUser), w.container("sidecar", sidecarUser)
	scope, err := ScopeOf(w.root, target.group, sidecar.group, w.group+"/ended")
	if err != nil || scope.Pod.ID == 0 || scope.Pod.Level != 2 || len(scope.Spared) != 1 || scope.Spared[0].Level != 3 {
		t.Errorf("got %+v, %v", scope, err)
	}
	for name, test := range map[string]struct {
		target string
		spared []string
	}{
		"the target spared":            {target.group, []string{target.group}},
		"another pod's container":      {target.group, []string{"/kubepods/podx/y"}},
		"in no pod":                    {"/", nil},
		"in no pod, but in some group": {"/system.slice/x.scope", nil},
		"beside its runtime":           {"/system.slice/containerd.service/kubepods-podx.slice:cri-containerd:y", nil},
		"in all pods' group":           {"/kubepods/y", nil},
	} {
		if scope, err := ScopeOf(w.root, test.target, test.spared...); !errors.Is(err, ErrIndistinct) {
			t.Errorf("%s: %+v, %v", name, scope, err)
		}
	}
	if _, err := ScopeOfUsers([]uint32{3, 1}, []uint32{2, 1}, nil); !errors.Is(err, ErrIndistinct) {
		t.Errorf("the same user: %v", err)
	}
}
