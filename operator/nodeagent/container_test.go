package nodeagent

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func worker(change func(*corev1.Pod)) *corev1.Pod {
	pod := &corev1.Pod{
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "sidecar"}, {Name: "worker"}}},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			Name: "worker", ContainerID: "containerd://0123", Started: ptr.To(true),
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		}}},
	}
	if change != nil {
		change(pod)
	}
	return pod
}

func TestNotYet(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"it runs":           {nil, ""},
		"on no node":        {func(p *corev1.Pod) { p.Spec.NodeName = "" }, "not on a node"},
		"nothing is known":  {func(p *corev1.Pod) { p.Status.ContainerStatuses = nil }, "does not run"},
		"it waits":          {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].State = corev1.ContainerState{} }, "does not run"},
		"it is starting up": {func(p *corev1.Pod) { p.Status.ContainerStatuses[0].Started = ptr.To(false) }, "startup probe"},
	} {
		t.Run(name, func(t *testing.T) {
			got := NotYet(worker(test.change), "worker")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
