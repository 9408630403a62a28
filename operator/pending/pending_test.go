package pending

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReason(t *testing.T) {
	waiting := func(reason, message string) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "worker", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}
	}
	unscheduled := []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/2 nodes are available: 2 Insufficient cpu."}}
	warning := func(reason, message string, second int64) corev1.Event {
		return corev1.Event{Type: corev1.EventTypeWarning, Reason: reason, Message: message, LastTimestamp: metav1.Unix(second, 0)}
	}
	for name, c := range map[string]struct {
		pod    corev1.Pod
		events []corev1.Event
		want   string
	}{
		"just made":          {corev1.Pod{}, nil, "not scheduled yet."},
		"no room":            {corev1.Pod{Status: corev1.PodStatus{Conditions: unscheduled}}, nil, "not scheduled: 0/2 nodes are available: 2 Insufficient cpu."},
		"being created":      {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting("ContainerCreating", "")}}}, nil, "its containers are being created on node n1."},
		"image":              {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting("ErrImagePull", "no such image")}}}, nil, "container worker: ErrImagePull: no such image"},
		"init container":     {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{waiting("ErrImagePull", "no agent")}, ContainerStatuses: []corev1.ContainerStatus{waiting("PodInitializing", "")}}}, nil, "container worker: ErrImagePull: no agent"},
		"volume, latest one": {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}, []corev1.Event{warning("FailedMount", "new", 20), warning("FailedScheduling", "old", 10)}, "FailedMount: new"},
		"rejected":           {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "Pod was rejected: no room"}}, nil, "OutOfpods: Pod was rejected: no room"},
		"rejected, no more":  {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}, Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "NodeAffinity"}}, nil, "NodeAffinity"},
		"a normal event":     {corev1.Pod{Spec: corev1.PodSpec{NodeName: "n1"}}, []corev1.Event{{Type: corev1.EventTypeNormal, Reason: "Pulling"}}, "its containers are being created on node n1."},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Reason(&c.pod, c.events); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
