package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Reason is one thing about a container that stands in the way of freezing it.
type Reason struct {
	// Code is short and stable, as a condition's reason.
	Code string
	// Message says what it is, and what may be done instead.
	Message string
	// Final: it cannot be frozen, or would not live through it. Else it can be, and
	// this will be different meanwhile.
	Final bool
}

// plain are the names that runtime classes of containers without a kernel of their
// own commonly have; the default class has none.
var plain = []string{"", "runc", "crun", "youki", "nvidia", "nvidia-cdi", "nvidia-legacy"}

// Preflight lists what is against freezing a container, the final reasons first. It
// is asked before anything is done.
func Preflight(pod *corev1.Pod, container string) []Reason {
	target := find(&pod.Spec, container)
	if target == nil {
		return []Reason{{Code: "NoSuchContainer", Final: true, Message: fmt.Sprintf("the pod does not run a container %s", container)}}
	}
	var reasons []Reason
	final := func(is bool, code, format string, arguments ...any) {
		if is {
			reasons = append(reasons, Reason{Code: code, Final: true, Message: fmt.Sprintf(format, arguments...)})
		}
	}
	const instead = "; a copy with scale-down works for it"
	final(pod.Spec.HostNetwork, "HostNetwork", "the pod uses its node's own network (hostNetwork): nothing can be refused to it there without refusing it to the node%s", instead)
	system := ptr.Deref(pod.Spec.OS, corev1.PodOS{}).Name
	final(system != "" && system != corev1.Linux, "NotLinux", "the pod's containers are for %s, and only Linux can freeze one%s", system, instead)
	class := ptr.Deref(pod.Spec.RuntimeClassName, "")
	final(!slices.Contains(plain, class), "SandboxedRuntime", "the pod's runtime class %s may run it on a kernel of its own, which its node cannot freeze%s", class, instead)
	final(isExec(target.LivenessProbe), "ExecProbe", "the liveness probe of container %s runs a command in it, which a frozen container cannot: the kubelet would restart it%s", container, instead)
	final(isExec(target.StartupProbe) && !started(pod, container), "NotStarted", "container %s has not passed its startup probe yet, which runs a command in it: wait until it has", container)
	if isExec(target.StartupProbe) && started(pod, container) {
		reasons = append(reasons, Reason{Code: "ExecProbe", Message: fmt.Sprintf("the startup probe of container %s runs a command in it, which it has passed; if it is restarted meanwhile it cannot pass it again, and the kubelet restarts it until the session ends", container)})
	}
	if isExec(target.ReadinessProbe) {
		reasons = append(reasons, Reason{Code: "ExecProbe", Message: fmt.Sprintf("the readiness probe of container %s runs a command in it, so the pod is not ready while it is frozen", container)})
	}
	if probed := foreign(target.LivenessProbe); probed != "" {
		reasons = append(reasons, Reason{Code: "ForeignProbe", Message: fmt.Sprintf("the liveness probe of container %s asks host %s: if that needs the container, the kubelet will restart it", container, probed)})
	}
	if hooks := target.Lifecycle; hooks != nil && needs(hooks.PostStart) {
		reasons = append(reasons, Reason{Code: "LifecycleHook", Message: fmt.Sprintf("the postStart hook of container %s needs it to run: if it is restarted meanwhile, the hook waits until the session ends, or fails, and the kubelet then restarts it again and again", container)})
	}
	if hooks := target.Lifecycle; hooks != nil && needs(hooks.PreStop) {
		reasons = append(reasons, Reason{Code: "LifecycleHook", Message: fmt.Sprintf("the preStop hook of container %s needs it to run: if the pod is deleted or it is restarted meanwhile, the hook waits until it is thawed, and takes of its grace period, or fails at once", container)})
	}
	return reasons
}

// needs says whether a hook cannot succeed while the container is frozen: one that
// only sleeps is the kubelet's alone.
func needs(hook *corev1.LifecycleHandler) bool {
	return hook != nil && (hook.Exec != nil || hook.HTTPGet != nil && hook.HTTPGet.Host == "")
}

// Attachable lists what is against attaching to a container, all of it final: the
// agent has to be in the pod's own network, on the node's kernel.
func Attachable(pod *corev1.Pod, container string) []Reason {
	var reasons []Reason
	const instead = "; a copy of it (--copy-target) works"
	for _, reason := range Preflight(pod, container) {
		switch reason.Code {
		case "HostNetwork":
			reason.Message = "the pod uses its node's own network (hostNetwork), whose ports would be taken from the node"
		case "NotLinux":
			reason.Message = "the pod's containers are not for Linux, and only there an agent can be in its network"
		case "SandboxedRuntime":
			reason.Message = fmt.Sprintf("the pod's runtime class %s may give it a network that its node does not see", ptr.Deref(pod.Spec.RuntimeClassName, ""))
		case "NoSuchContainer":
			return []Reason{reason}
		default:
			continue
		}
		reason.Message += instead
		reasons = append(reasons, reason)
	}
	return reasons
}

func isExec(p *corev1.Probe) bool { return p != nil && p.Exec != nil }

// foreign is the host that a probe asks instead of the pod.
func foreign(p *corev1.Probe) string {
	switch {
	case p == nil:
	case p.HTTPGet != nil:
		return p.HTTPGet.Host
	case p.TCPSocket != nil:
		return p.TCPSocket.Host
	}
	return ""
}

func started(pod *corev1.Pod, name string) bool {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range statuses {
			if statuses[i].Name == name {
				return ptr.Deref(statuses[i].Started, false)
			}
		}
	}
	return false
}
