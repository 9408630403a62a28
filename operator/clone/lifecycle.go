package clone

import corev1 "k8s.io/api/core/v1"

// keepRunning gives the pod the life of a stand-in: it stays until it is
// deleted, and then goes at once. The grace period is never 0: the API server
// would forget such a pod before its containers have ended.
func keepRunning(spec *corev1.PodSpec) {
	grace := GracePeriodSeconds
	spec.TerminationGracePeriodSeconds = &grace
	spec.ActiveDeadlineSeconds = nil
	spec.RestartPolicy = corev1.RestartPolicyAlways
	for container := range everyContainer(spec) {
		if container.Lifecycle != nil {
			shortenSleep(container.Lifecycle.PostStart)
			shortenSleep(container.Lifecycle.PreStop)
		}
	}
}

// shortenSleep keeps a sleeping hook within the grace period, without which
// the API server refuses the pod.
func shortenSleep(hook *corev1.LifecycleHandler) {
	if hook != nil && hook.Sleep != nil {
		hook.Sleep.Seconds = min(hook.Sleep.Seconds, GracePeriodSeconds)
	}
}
