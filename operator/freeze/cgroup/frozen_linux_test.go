package cgroup

import (
	"path/filepath"
	"testing"

	"understudy.dev/understudy/operator/freeze/freezetest"
)

// What is frozen is listed, in the hierarchy in which it is, and nothing that runs.
func TestFrozen(t *testing.T) {
	for _, version := range []Version{V1, V2} {
		t.Run(version.String(), func(t *testing.T) {
			pod := freezetest.NewPod(t, 1, 2)
			target := pod.Start("count", pod.Dirs)
			_, dirs := pod.Another()
			pod.Start("count", dirs)
			seen := func() (found []Standing) {
				standing, err := Node{}.Frozen()
				if err != nil {
					t.Error(err)
				}
				for _, s := range standing {
					if s.PodUID == pod.UID {
						found = append(found, s)
					}
				}
				return found
			}
			if found := seen(); len(found) > 0 {
				t.Errorf("of a pod that runs there is %v", found)
			}
			if version == V1 {
				freezetest.Put(filepath.Join(pod.Dirs[1], "freezer.state"), "FROZEN")
			} else {
				freezetest.Put(filepath.Join(pod.Dirs[2], "cgroup.freeze"), "1")
			}
			pod.Still(target)
			if found := seen(); len(found) != 1 || found[0].ID != pod.ID || found[0].Version != version {
				t.Errorf("of a pod with one frozen container there is %v", found)
			}
		})
	}
}

func TestKubeletRoot(t *testing.T) {
	const uid = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
	const slice = "pod0a1b2c3d_0a1b_0a1b_0a1b_0a1b2c3d4e5f.slice"
	for path, want := range map[string]string{
		"/kubepods/burstable/pod" + uid + "/abc":                                                        "/",
		"/kubepods.slice/kubepods-" + slice + "/cri-containerd-abc.scope":                               "/",
		"/a/node-1/kubepods/pod" + uid + "/abc":                                                         "/a/node-1",
		"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-" + slice + "/cri-containerd-abc.scope": "/kubelet.slice",
		"/system.slice/containerd.service/kubepods-" + slice + ":cri-containerd:abc":                    "/system.slice/containerd.service",
		"/user.slice/session-1.scope":                                                                   "/",
		"":                                                                                              "/",
	} {
		if got := kubeletRoot(path); got != want {
			t.Errorf("kubeletRoot(%q) = %q, want %q", path, got, want)
		}
	}
	for _, test := range []struct {
		root, path string
		want       bool
	}{{"/", "/x", true}, {"/a/node-1", "/a/node-1/kubepods/x", true}, {"/a/node-1", "/a/node-11/kubepods/x", false}, {"/a/node-1", "/kubepods/x", false}} {
		if got := within(test.root, test.path); got != test.want {
			t.Errorf("within(%q, %q) = %v", test.root, test.path, got)
		}
	}
}
