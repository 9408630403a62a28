package session

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// pendingReason says why a pod does not run yet, in the words of who knows:
// the kubelet's on a container that waits, the scheduler's condition, or the
// latest warning about the pod.
func pendingReason(pod *corev1.Pod, events []corev1.Event) string {
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			if why := containerReason(status); why != "" {
				return why
			}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + orElse(c.Message, c.Reason)
		}
	}
	if warning := latestWarning(events); warning != nil {
		return warning.Reason + ": " + strings.TrimSpace(warning.Message)
	}
	if pod.Spec.NodeName == "" {
		return "not scheduled yet."
	}
	return "its containers are being created on node " + pod.Spec.NodeName + "."
}

// containerReason leaves out what every start goes through.
func containerReason(status corev1.ContainerStatus) string {
	if w := status.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
		if w.Message == "" {
			return "container " + status.Name + ": " + w.Reason
		}
		return "container " + status.Name + ": " + w.Reason + ": " + w.Message
	}
	if t := status.State.Terminated; t != nil && t.ExitCode != 0 {
		return "container " + status.Name + " ended: " + orElse(t.Message, t.Reason)
	}
	return ""
}

func latestWarning(events []corev1.Event) *corev1.Event {
	var last *corev1.Event
	for i := range events {
		if events[i].Type == corev1.EventTypeWarning && (last == nil || when(last).Before(when(&events[i]))) {
			last = &events[i]
		}
	}
	return last
}

// when an event last happened; the two events APIs fill different fields.
func when(event *corev1.Event) time.Time {
	switch {
	case event.Series != nil:
		return event.Series.LastObservedTime.Time
	case !event.LastTimestamp.IsZero():
		return event.LastTimestamp.Time
	case !event.EventTime.IsZero():
		return event.EventTime.Time
	}
	return event.CreationTimestamp.Time
}
