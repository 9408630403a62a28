package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	uid    = "0b1f2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
	static = "5d3c2b1a0f9e8d7c6b5a493827160f5e"
)

var id = strings.Repeat("3f2a", 16)

func TestLocate(t *testing.T) {
	slice := "kubepods-burstable-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice"
	for name, test := range map[string]struct {
		path string
		want place
	}{
		"containerd, cgroupfs": {
			path: "/kubepods/burstable/pod" + uid + "/" + id,
			want: place{podUID: uid, id: id, group: "/kubepods/burstable/pod" + uid + "/" + id},
		},
		"a kubelet with a root of its own": {
			path: "/node2/kubepods/pod" + uid + "/" + id,
			want: place{podUID: uid, id: id, group: "/node2/kubepods/pod" + uid + "/" + id},
		},
		"a kubelet with a root of its own, systemd": { // as kind's
			path: "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-" + slice + "/cri-containerd-" + id + ".scope",
			want: place{podUID: uid, id: id, group: "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-" + slice + "/cri-containerd-" + id + ".scope"},
		},
		"a slice that only sounds like one": {path: "/user.slice/mykubepods-pod" + strings.ReplaceAll(uid, "-", "_") + ".slice/" + id},
		"a static pod": {
			path: "/kubepods/pod" + static + "/" + id,
			want: place{podUID: static, id: id, group: "/kubepods/pod" + static + "/" + id},
		},
		"containerd, systemd": {
			path: "/kubepods.slice/kubepods-burstable.slice/" + slice + "/cri-containerd-" + id + ".scope",
			want: place{podUID: uid, id: id, group: "/kubepods.slice/kubepods-burstable.slice/" + slice + "/cri-containerd-" + id + ".scope"},
		},
		"docker, systemd": {
			path: "/kubepods.slice/" + slice + "/docker-" + id + ".scope",
			want: place{podUID: uid, id: id, group: "/kubepods.slice/" + slice + "/docker-" + id + ".scope"},
		},
		"CRI-O with crun": {
			path: "/kubepods.slice/" + slice + "/crio-" + id + ".scope/container",
			want: place{podUID: uid, id: id, group: "/kubepods.slice/" + slice + "/crio-" + id + ".scope", inner: true},
		},
		"CRI-O's monitor": {path: "/kubepods.slice/" + slice + "/crio-conmon-" + id + ".scope"},
		"a runtime that knows nothing of systemd": {
			path: "/system.slice/containerd.service/" + slice + ":cri-containerd:" + id,
			want: place{podUID: uid, id: id, group: "/system.slice/containerd.service/" + slice + ":cri-containerd:" + id},
		},
		"a container in the container that takes another's names": {
			path: "/kubepods/pod" + uid + "/" + id + "/kubepods/pod" + static + "/" + strings.Repeat("b", 64),
			want: place{podUID: uid, id: id, group: "/kubepods/pod" + uid + "/" + id, inner: true},
		},
		"systemd in a container": {
			path: "/kubepods/pod" + uid + "/" + id + "/init.scope",
			want: place{podUID: uid, id: id, group: "/kubepods/pod" + uid + "/" + id, inner: true},
		},
		"the pod itself":       {path: "/kubepods/pod" + uid},
		"a service":            {path: "/system.slice/podman.service/x"},
		"the root":             {path: "/"},
		"what begins like one": {path: "/podman/" + id},
		"outside":              {path: "/../../pod" + uid + "/.."},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := locate(test.path)
			if ok != (test.want != place{}) {
				t.Fatalf("locate(%q) found %v", test.path, ok)
			}
			if got != test.want {
				t.Error(cmp.Diff(test.want, got, cmp.AllowUnexported(place{})))
			}
		})
	}
}

func TestParseID(t *testing.T) {
	for status, ok := range map[string]bool{
		"containerd://" + id:    true,
		"cri-o://" + id:         true,
		"docker://" + id:        true,
		"":                      false,
		id:                      false,
		"containerd://":         false,
		"containerd://../" + id: false,
	} {
		_, got, err := ParseID(status)
		if (err == nil) != ok || ok && got != id {
			t.Errorf("ParseID(%q) = %q, %v", status, got, err)
		}
	}
}
