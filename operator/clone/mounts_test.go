package clone

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestMounts(t *testing.T) {
	no := false
	spec := &corev1.PodSpec{
		AutomountServiceAccountToken: &no,
		Volumes: []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "disk", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "disk.example"}}},
		},
		Containers: []corev1.Container{{Name: "worker", VolumeMounts: []corev1.VolumeMount{
			{Name: "secret", MountPath: "/understudy.dev/agent"},
			{Name: "secret", MountPath: "/understudy.developer"},
			{Name: "secret", MountPath: "etc//relative/../secret/"},
			{Name: "config", MountPath: "/etc/a.conf", SubPathExpr: "$(NAME).conf"},
			{Name: "data", MountPath: "/data"},
			{Name: "disk", MountPath: "/disk"},
		}}},
	}
	got := Mounts(spec, "worker")
	want := []Mount{{Path: "/etc/a.conf", SubPath: true}, {Path: "/etc/secret"}, {Path: "/understudy.developer"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("mounts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/a.conf", "/etc/secret", "/understudy.developer"}, Paths(got)); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
	if got := Mounts(spec, "gone"); got != nil {
		t.Errorf("a container that is not there has mounts %v", got)
	}
}
