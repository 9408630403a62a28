package hold

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func pod(phase corev1.PodPhase, states ...corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{NodeName: "node-1"}, Status: corev1.PodStatus{Phase: phase}}
	for i, state := range states {
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: []string{"worker", "sidecar"}[i], State: state})
	}
	return p
}

var (
	runs  = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	waits = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
)

func TestEnded(t *testing.T) {
	collected := pod(corev1.PodFailed)
	collected.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByPodGC"}}
	native := pod(corev1.PodSucceeded)
	native.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "worker", State: ended}}
	for name, c := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"runs":                                   {pod(corev1.PodRunning, runs, runs), false},
		"between two crashes":                    {pod(corev1.PodRunning, waits, runs), false},
		"terminated, the pod goes on":            {pod(corev1.PodRunning, ended, runs), false},
		"over":                                   {pod(corev1.PodSucceeded, ended, ended), true},
		"failed":                                 {pod(corev1.PodFailed, ended, ended), true},
		"failed by the collector, still running": {pod(corev1.PodFailed, runs, runs), false},
		"failed by the collector, unknown":       {collected, false},
		"rejected by the kubelet":                {pod(corev1.PodFailed), true},
		"not started":                            {pod(corev1.PodPending), false},
		"a native sidecar":                       {native, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Ended(c.pod, "worker"); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestVanished(t *testing.T) {
	note := v1alpha1.OldPod{Name: "worker-1", NodeName: "node-1"}
	unbound := v1alpha1.OldPod{Name: "worker-1"}
	for name, c := range map[string]struct {
		note v1alpha1.OldPod
		last *corev1.Pod
		node NodeState
		want string
	}{
		"its node is Ready":                       {note, nil, NodeReady, ""},
		"seen to end":                             {note, pod(corev1.PodSucceeded, ended), NodeReady, ""},
		"seen to end, the node went later":        {note, pod(corev1.PodSucceeded, ended), NodeGone, ""},
		"removed while it ran":                    {note, pod(corev1.PodRunning, runs), NodeReady, "it was deleted by force while its container ran"},
		"its node is not Ready":                   {note, nil, NodeNotReady, "its node node-1 is not Ready"},
		"its node is gone":                        {note, nil, NodeGone, "its node node-1 is gone"},
		"never bound":                             {unbound, nil, NodeReady, ""},
		"never bound, seen":                       {unbound, &corev1.Pod{}, NodeReady, ""},
		"bound after it was noted, then by force": {unbound, pod(corev1.PodRunning, runs), NodeReady, "it was deleted by force while its container ran"},
		"doubted before":                          {v1alpha1.OldPod{Unconfirmed: "doubt"}, nil, NodeReady, "doubt"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Vanished(c.note, c.last, "worker", c.node); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNoteTakesTheLongerGrace(t *testing.T) {
	thirty, sixty := int64(30), int64(60)
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionGracePeriodSeconds: &sixty}, Spec: corev1.PodSpec{TerminationGracePeriodSeconds: &thirty}}
	if got := Note(p).GraceSeconds; got != 60 {
		t.Errorf("got %d, want 60", got)
	}
}
