package solo

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"understudy.dev/understudy/cli/failure"
)

// watchTarget ends the session when the frozen pod is to end: the agent takes a
// signal to end for a container's alone, in whose place the kubelet starts another.
// Where it may not be watched it is read again and again.
func (s *Session) watchTarget(ctx context.Context) {
	pods := s.plan.client.Steady().CoreV1().Pods(s.plan.pod.Namespace)
	for ctx.Err() == nil {
		began := time.Now()
		reading, cancel := context.WithTimeout(ctx, readFor)
		pod, err := pods.Get(reading, s.plan.pod.Name, metav1.GetOptions{})
		cancel()
		if err == nil || apierrors.IsNotFound(err) {
			if s.targetEnds(pod, err != nil) {
				return
			}
		}
		if err == nil {
			s.followTarget(ctx, pod)
		}
		breathe(ctx, began)
	}
}

// followTarget watches until the watch ends, as where it may not be had, or the pod does.
func (s *Session) followTarget(ctx context.Context, pod *corev1.Pod) {
	ctx, cancel := context.WithTimeout(ctx, watchFor+readFor)
	defer cancel()
	seconds := int64(watchFor / time.Second)
	watcher, err := s.plan.client.Steady().CoreV1().Pods(pod.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("metadata.name", pod.Name).String(), ResourceVersion: pod.ResourceVersion, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if seen, ok := event.Object.(*corev1.Pod); ok && s.targetEnds(seen, event.Type == watch.Deleted) {
			return // the next read says so again
		}
	}
}

// targetEnds tells that the session is over, if the frozen pod is.
func (s *Session) targetEnds(pod *corev1.Pod, gone bool) bool {
	name := s.plan.pod.Name
	var why string
	switch {
	case gone, pod.UID != s.plan.pod.UID:
		why = "pod " + name + " is gone"
	case !pod.DeletionTimestamp.IsZero():
		why = "pod " + name + " is being deleted"
	case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		why = fmt.Sprintf("pod %s has ended: %s", name, cmp.Or(pod.Status.Message, pod.Status.Reason, string(pod.Status.Phase)))
	default:
		return false
	}
	s.over(failure.New("start again with a pod that runs", "%s", why))
	return true
}

// breathe waits after a round of reading and watching that was short. A watch goes on
// from the version of one object, and a server that has forgotten that, as it may of
// one that has not changed for long, ends each at once, without an error.
func breathe(ctx context.Context, began time.Time) {
	if time.Since(began) > retryMost {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(retryMost):
	}
}
