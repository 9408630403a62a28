package thaw

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"understudy.dev/understudy/operator/nodeagent"
	"understudy.dev/understudy/operator/pending"
)

// Step is one wait.
type Step interface {
	// Wait says what is waited for meanwhile.
	Wait(reason string)
	// Done ends it, with nothing to be said about it where result is empty.
	Done(result string)
}

// DefaultTimeout is enough to pull an image, and for an agent's grace period.
const DefaultTimeout = 5 * time.Minute

const (
	// lookEvery is how often a pod that is to end is looked at, reasonEvery how often
	// it is asked why one does not run.
	lookEvery   = 200 * time.Millisecond
	reasonEvery = time.Second
)

// ended waits until nothing of a pod runs any more, and answers the pod as it was
// then; nil for one that is gone.
func (o Options) ended(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) (*corev1.Pod, error) {
	within := cmp.Or(o.Timeout, DefaultTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("it has not ended within %v", within))
	defer cancel()
	step := o.Begin("waiting for the agent " + pod.Name + " to end")
	defer step.Done("")
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	why, asked := "", time.Time{}
	for {
		now, err := kube.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && now.UID != pod.UID:
			return nil, nil
		case err != nil && ctx.Err() == nil:
			return nil, err
		case err == nil:
			ended, _, _ := nodeagent.Ended(now)
			if ended || now.Status.Phase == corev1.PodFailed || now.Status.Phase == corev1.PodSucceeded {
				return now, nil
			}
			if !nodeagent.NeverRan(now) {
				why = "it runs on node " + now.Spec.NodeName
			} else if time.Since(asked) >= reasonEvery {
				why, asked = strings.TrimSuffix(pending.Reason(now, events(ctx, kube, now)), "."), time.Now()
			}
			step.Wait(why)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s", context.Cause(ctx), cmp.Or(why, "nothing was heard of it"))
		case <-ticker.C:
		}
	}
}

// events about a pod; none where they may not be read.
func events(ctx context.Context, kube kubernetes.Interface, pod *corev1.Pod) []corev1.Event {
	found, err := kube.CoreV1().Events(pod.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(pod.UID)})
	if err != nil {
		return nil
	}
	return found.Items
}
