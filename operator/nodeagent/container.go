package nodeagent

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Container is the container of that name that a pod runs: one of its
// containers or a native sidecar; nil when there is none.
func Container(spec *corev1.PodSpec, name string) *corev1.Container {
	for i := range spec.Containers {
		if spec.Containers[i].Name == name {
			return &spec.Containers[i]
		}
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.Name == name && ptr.Deref(c.RestartPolicy, "") == corev1.ContainerRestartPolicyAlways {
			return c
		}
	}
	return nil
}

// Status is what the kubelet says of a container; nil for nothing yet.
func Status(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == name {
				return &statuses[i]
			}
		}
	}
	return nil
}

// NotYet says why a container is not to be frozen yet; empty when it may be.
// One that is still starting would be killed by the kubelet for not starting.
func NotYet(pod *corev1.Pod, name string) string {
	status := Status(pod, name)
	switch {
	case pod.Spec.NodeName == "":
		return "the pod is not on a node yet"
	case status == nil || status.State.Running == nil || status.ContainerID == "":
		return "container " + name + " does not run"
	case status.Started != nil && !*status.Started:
		return "container " + name + " has not passed its startup probe yet"
	}
	return ""
}
