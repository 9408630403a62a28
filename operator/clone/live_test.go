package clone

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the API server makes of matchLabelKeys goes, what the author wrote stays.
func TestMergedKeysAreTakenOut(t *testing.T) {
	in := func(key string, values ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: metav1.LabelSelectorOpIn, Values: values}
	}
	notIn := metav1.LabelSelectorRequirement{Key: "tenant", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"a"}}
	term := corev1.PodAffinityTerm{
		TopologyKey: "zone", MatchLabelKeys: []string{"hash"}, MismatchLabelKeys: []string{"tenant"},
		LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
			in("app", "web"), in("tenant", "b"), in("hash", "7d9c"), notIn,
		}},
	}
	pod := &corev1.Pod{Spec: corev1.PodSpec{Affinity: &corev1.Affinity{
		PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{*term.DeepCopy()}},
		PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{
			{Weight: 1, PodAffinityTerm: *term.DeepCopy()},
		}},
	}}}
	before := pod.DeepCopy()
	affinity := FromPod(pod).template.Spec.Affinity
	want := []metav1.LabelSelectorRequirement{in("app", "web"), in("tenant", "b")}
	for _, got := range []*metav1.LabelSelector{
		affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector,
		affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm.LabelSelector,
	} {
		if diff := cmp.Diff(want, got.MatchExpressions); diff != "" {
			t.Errorf("expressions (-want +got):\n%s", diff)
		}
	}
	if diff := cmp.Diff(before, pod); diff != "" {
		t.Errorf("the pod was changed (-before +after):\n%s", diff)
	}
}

// A projected volume of one's own is not the injected one, even at its place.
func TestOnlyTheInjectedTokenGoes(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		Volumes: []corev1.Volume{
			{Name: "kube-api-access-abcde", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
			{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
		},
		InitContainers: []corev1.Container{{Name: "init", VolumeMounts: []corev1.VolumeMount{{Name: "kube-api-access-abcde", MountPath: TokenDir}}}},
		Containers:     []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "token", MountPath: TokenDir}}}},
	}}
	spec := FromPod(pod).template.Spec
	if len(spec.Volumes) != 1 || spec.Volumes[0].Name != "token" || len(spec.InitContainers[0].VolumeMounts) != 0 || len(spec.Containers[0].VolumeMounts) != 1 {
		t.Errorf("volumes %v, mounts %v and %v", spec.Volumes, spec.InitContainers[0].VolumeMounts, spec.Containers[0].VolumeMounts)
	}
	if got := Mounts(&spec, "app"); len(got) != 1 || got[0].Optional {
		t.Errorf("the mounts are %+v, want the container's own token alone", got)
	}
}
