package session

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

func TestStartFailure(t *testing.T) {
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "because"}}
	}
	ended := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, Message: "because", ExitCode: 128}}
	}
	for name, c := range map[string]struct {
		status corev1.ContainerStatus
		want   string
	}{
		"not made":          {corev1.ContainerStatus{Name: "worker", State: waiting("CreateContainerError")}, "because"},
		"not run":           {corev1.ContainerStatus{Name: "worker", State: waiting("RunContainerError")}, "because"},
		"not started":       {corev1.ContainerStatus{Name: "worker", State: ended("StartError")}, "because"},
		"not started again": {corev1.ContainerStatus{Name: "worker", State: waiting("CrashLoopBackOff"), LastTerminationState: ended("StartError")}, "because"},
		"no image":          {corev1.ContainerStatus{Name: "worker", State: waiting("ImagePullBackOff")}, ""},
		"no secret":         {corev1.ContainerStatus{Name: "worker", State: waiting("CreateContainerConfigError")}, ""},
		"it ran":            {corev1.ContainerStatus{Name: "worker", State: waiting("CrashLoopBackOff"), LastTerminationState: ended("Error")}, ""},
		"another container": {corev1.ContainerStatus{Name: "sidecar", State: ended("StartError")}, ""},
	} {
		pod := &corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{c.status}}}
		if got := startFailure(pod, "worker"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A node's runtime that takes an image volume and mounts nothing: the stand-in
// is made again with an init container, and so is each later one.
func TestRuntimeWithoutImageVolumes(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	before := w.deployment("worker")
	w.noStart = true
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	standIn := func(name string) *corev1.Pod {
		pod := &corev1.Pod{}
		if err := w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, pod); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		return pod
	}
	w.drive(operator, "alice", "the stand-in is made", func() bool { return standIn("alice-standin-1").Name != "" })
	first := standIn("alice-standin-1")
	if delivery := clone.DeliveryOf(first); delivery != v1alpha1.DeliveryImageVolume {
		t.Fatalf("the first delivery is %s", delivery)
	}
	w.setPod(first, corev1.PodPending, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: "StartError", ExitCode: 128, Message: "exec: no such file or directory",
	}})
	w.drive(operator, "alice", "another is made", func() bool { return standIn("alice-standin-2").Name != "" })
	if delivery := clone.DeliveryOf(standIn("alice-standin-2")); delivery != v1alpha1.DeliveryInitContainer {
		t.Errorf("the second delivery is %s", delivery)
	}
	if *w.deployment("worker").Spec.Replicas != 2 {
		t.Error("held before a stand-in runs")
	}
	w.noStart = false
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })

	w.must(w.Delete(w.ctx, standIn("alice-standin-2")))
	w.drive(operator, "alice", "a third is made", func() bool { return standIn("alice-standin-3").Name != "" })
	if delivery := clone.DeliveryOf(standIn("alice-standin-3")); delivery != v1alpha1.DeliveryInitContainer {
		t.Errorf("the third delivery is %s", delivery)
	}
	w.drive(operator, "alice", "the session is ready again", func() bool { return w.isReady("alice") })
	w.end(operator, "alice")
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.checkSame(before, w.deployment("worker"))
}
