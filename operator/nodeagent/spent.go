package nodeagent

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Spent says of an agent that only thaws that the kubelet lets it run no more and
// that it has left no proof: its node had no room for it, or threw it out. Nothing
// is lost with its pod, as what it has thawed, if it ran at all, is not to be undone.
//
// Of an agent that freezes this is never said. That it was rejected before it ran
// cannot be read from its pod: a kubelet that is started again may reject what runs,
// and its status then says nothing of the container either.
func Spent(pod *corev1.Pod) bool {
	if !OnlyThaws(pod) || pod.Status.Phase != corev1.PodFailed {
		return false
	}
	_, proved, _ := Ended(pod)
	return !proved
}

const (
	retryLeast = time.Second
	retryMost  = time.Minute
)

// Retry is how long after the making of one that is spent the next is made; spent
// counts those so far. A kubelet rejects within milliseconds, and what keeps it from
// taking a pod may last for hours.
func Retry(spent int) time.Duration {
	wait := retryLeast
	for ; spent > 1 && wait < retryMost; spent-- {
		wait *= 2
	}
	return min(wait, retryMost)
}
