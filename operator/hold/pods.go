package hold

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// Ended says whether the named container of a pod has run for the last time,
// by the kubelet's own word: it terminated, and the pod as a whole is over. A
// terminated container of a pod that is not over is started again. The phase
// alone is no proof: the pod garbage collector writes Failed on the pods of a
// node that is gone, without having asked anybody.
func Ended(pod *corev1.Pod, container string) bool {
	if pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
		return false
	}
	for _, status := range containerStatuses(pod) {
		if status.Name == container {
			return status.State.Terminated != nil
		}
	}
	// Over, and no word of that container: the kubelet reports none of a pod
	// that it rejected, which never ran. The garbage collector, which may write
	// the same without knowing, leaves its name.
	return len(containerStatuses(pod)) == 0 && !collected(pod)
}

func collected(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue && c.Reason == "DeletionByPodGC" {
			return true
		}
	}
	return false
}

func containerStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus(nil), pod.Status.ContainerStatuses...), pod.Status.InitContainerStatuses...)
}

// Note is what has to be remembered of a pod to judge it when it has vanished.
func Note(pod *corev1.Pod) v1alpha1.OldPod {
	note := v1alpha1.OldPod{Name: pod.Name, UID: pod.UID, NodeName: pod.Spec.NodeName}
	if g := pod.Spec.TerminationGracePeriodSeconds; g != nil {
		note.GraceSeconds = *g
	}
	// A deletion with another grace period counts from then on.
	if g := pod.DeletionGracePeriodSeconds; g != nil && *g > note.GraceSeconds {
		note.GraceSeconds = *g
	}
	return note
}

// NodeState is what is known of the node that a pod was bound to.
type NodeState int

const (
	NodeReady NodeState = iota
	NodeNotReady
	NodeGone
)

// Vanished judges a pod that is no longer there: empty when that proves that
// its containers ended, else why it does not. last is the pod as its deletion
// showed it, nil if nobody was watching.
//
// The kubelet removes a pod only after it has reported every container as
// terminated. A pod that was removed while one still ran was removed by force,
// by somebody who asked no kubelet.
func Vanished(note v1alpha1.OldPod, last *corev1.Pod, container string, node NodeState) string {
	switch {
	case note.Unconfirmed != "":
		return note.Unconfirmed
	case last != nil && Ended(last, container):
		return ""
	case last != nil && last.Spec.NodeName == "", last == nil && note.NodeName == "":
		return ""
	case last != nil:
		return "it was deleted by force while its container ran"
	case node == NodeGone:
		return fmt.Sprintf("its node %s is gone", note.NodeName)
	case node == NodeNotReady:
		return fmt.Sprintf("its node %s is not Ready", note.NodeName)
	}
	return ""
}

// Ran says whether the named container of a pod was started at all.
func Ran(pod *corev1.Pod, container string) bool {
	for _, status := range containerStatuses(pod) {
		if status.Name == container {
			return status.State.Running != nil || status.State.Terminated != nil || status.LastTerminationState.Terminated != nil
		}
	}
	return false
}
