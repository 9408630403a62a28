// Package pending says why a pod does not run yet. It is pure: whoever asks has
// read the pod and its events, the operator for what it has made and the command
// line tool for what it made itself.
package pending

import (
	"cmp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Reason says why a pod does not run yet, or never will, in the words of who knows:
// the kubelet's on a pod that it has rejected or thrown out or on a container that
// waits, the scheduler's condition, or the latest warning about the pod.
func Reason(pod *corev1.Pod, events []corev1.Event) string {
	if why := pod.Status.Reason; why != "" && pod.Status.Phase == corev1.PodFailed {
		if pod.Status.Message != "" {
			why += ": " + pod.Status.Message
		}
		return why
	}
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, status := range statuses {
			if why := containerReason(status); why != "" {
				return why
			}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "not scheduled: " + cmp.Or(c.Message, c.Reason)
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

// containerReason is why a container does not run; it leaves out what every start goes through.
func containerReason(status corev1.ContainerStatus) string {
	if w := status.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
		if w.Message == "" {
			return "container " + status.Name + ": " + w.Reason
		}
		return "container " + status.Name + ": " + w.Reason + ": " + w.Message
	}
	if t := status.State.Terminated; t != nil && t.ExitCode != 0 {
		return "container " + status.Name + " ended: " + cmp.Or(t.Message, t.Reason)
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
