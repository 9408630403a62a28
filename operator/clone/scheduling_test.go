package clone

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestDevicesAreTolerated(t *testing.T) {
	toleration := corev1.Toleration{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}
	pinned := map[string]string{"accelerator": "big"}
	tests := []struct {
		name   string
		change func(*corev1.PodSpec)
		want   int
	}{
		{"free to run anywhere", func(*corev1.PodSpec) {}, 0},
		{"pinned by selector", func(s *corev1.PodSpec) { s.NodeSelector = pinned }, 1},
		{"pinned by affinity", func(s *corev1.PodSpec) {
			s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
		}, 1},
		{"tolerated already", func(s *corev1.PodSpec) {
			s.NodeSelector, s.Tolerations = pinned, []corev1.Toleration{toleration}
		}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			template := oneContainer("model")
			template.Spec.Containers[0].Resources = needs("", "nvidia.com/gpu=1 hugepages-2Mi=2Mi memory=1Gi")
			test.change(&template.Spec)
			pod, _ := mustStandIn(t, FromTemplate("shop", template), someOptions())
			if len(pod.Spec.Tolerations) != test.want {
				t.Fatalf("tolerations are %v, want %d", pod.Spec.Tolerations, test.want)
			}
			if test.want == 1 && pod.Spec.Tolerations[0] != toleration {
				t.Errorf("the toleration is %v", pod.Spec.Tolerations[0])
			}
		})
	}
}
