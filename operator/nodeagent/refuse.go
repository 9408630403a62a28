package nodeagent

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// unsandboxed are the names that runtime classes of plain containers commonly
// have. In any other the container's processes may be behind a kernel of their
// own, which the node's cannot freeze one by one.
var unsandboxed = []string{"runc", "crun", "youki", "nvidia", "nvidia-cdi", "nvidia-legacy"}

// Refuse says why a container cannot be frozen, or would not live through it;
// empty when it can. It is asked before anything is done.
func Refuse(pod *corev1.Pod, container string) string {
	target := Container(&pod.Spec, container)
	switch {
	case target == nil:
		return fmt.Sprintf("the pod has no container %s", container)
	case pod.Spec.HostNetwork:
		return "it uses its node's own network (hostNetwork), where nothing can be refused to it without refusing it to the whole node"
	case pod.Spec.OS != nil && pod.Spec.OS.Name != "" && pod.Spec.OS.Name != corev1.Linux:
		return fmt.Sprintf("its containers are for %s, and freezing is Linux's", pod.Spec.OS.Name)
	case !slices.Contains(append([]string{""}, unsandboxed...), ptr.Deref(pod.Spec.RuntimeClassName, "")):
		return fmt.Sprintf("its runtime class %s may be a sandbox with a kernel of its own, which cannot be frozen from the node", *pod.Spec.RuntimeClassName)
	case target.LivenessProbe != nil && target.LivenessProbe.Exec != nil:
		return "its liveness probe runs a command inside of the container, which a frozen container cannot: the kubelet would restart it"
	}
	return ""
}

// Warn says what changes for the target while it is frozen; empty for nothing.
func Warn(pod *corev1.Pod, container string) string {
	target := Container(&pod.Spec, container)
	if target != nil && target.ReadinessProbe != nil && target.ReadinessProbe.Exec != nil {
		return "Its readiness probe runs a command inside of the container, so that the pod is not ready while it is frozen."
	}
	return ""
}

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
