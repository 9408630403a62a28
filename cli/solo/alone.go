package solo

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/hold/standing"
)

// watchBeside ends the session when another pod of the workload comes, whose only one
// is frozen: it would take what the frozen one does not. Where pods may not be watched
// they are read again and again.
func (s *Session) watchBeside(ctx context.Context) {
	if s.plan.only == nil {
		return
	}
	pods, above := s.plan.client.Steady().CoreV1().Pods(s.plan.pod.Namespace), s.plan.above(ctx)
	for ctx.Err() == nil {
		began := time.Now()
		reading, cancel := context.WithTimeout(ctx, readFor)
		found, err := pods.List(reading, metav1.ListOptions{})
		cancel()
		ended := false
		if err == nil {
			ended, err = s.joined(ctx, found.Items, above)
		}
		if err == nil && !ended {
			ended = s.followBeside(ctx, found.ResourceVersion, above)
		}
		if ended {
			return
		}
		breathe(ctx, began)
	}
}

// followBeside watches until the watch ends, as where it may not be had; ended is
// whether the session has.
func (s *Session) followBeside(ctx context.Context, from string, above standing.Above) (ended bool) {
	watching, cancel := context.WithTimeout(ctx, watchFor+readFor)
	defer cancel()
	seconds := int64(watchFor / time.Second)
	watcher, err := s.plan.client.Steady().CoreV1().Pods(s.plan.pod.Namespace).Watch(watching, metav1.ListOptions{ResourceVersion: from, TimeoutSeconds: &seconds})
	if err != nil {
		return false
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if !ok || event.Type == watch.Deleted {
			continue
		}
		if ended, err := s.joined(ctx, []corev1.Pod{*pod}, above); ended || err != nil {
			return ended // after an error all are read anew
		}
	}
	return false
}

// joined tells that the session is over, if one of these is beside the frozen pod.
func (s *Session) joined(ctx context.Context, pods []corev1.Pod, above standing.Above) (bool, error) {
	found, err := s.plan.beside(ctx, pods, above)
	if err != nil || len(found) == 0 {
		return false, err
	}
	s.over(s.plan.notAlone(ctx, found))
	return true, nil
}

// remainsAlone fails where the pod is no longer the only one of its workload, as it was
// when it was chosen.
func (p *Plan) remainsAlone(ctx context.Context) error {
	if p.only == nil {
		return nil
	}
	pods, err := p.client.Kube.CoreV1().Pods(p.pod.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("looking for pods beside %s: %w", p.pod.Name, err)
	}
	found, err := p.beside(ctx, pods.Items, p.above(ctx))
	if err != nil || len(found) == 0 {
		return err
	}
	return p.notAlone(ctx, found)
}

// beside are those of the pods that are there beside the frozen one. One that comes in
// its place is not: that the pod ends is said by watchTarget.
func (p *Plan) beside(ctx context.Context, pods []corev1.Pod, above standing.Above) ([]corev1.Pod, error) {
	found, err := standing.Beside(pods, p.pod.UID, []types.UID{p.only.UID}, above)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	pod, err := p.client.Steady().CoreV1().Pods(p.pod.Namespace).Get(ctx, p.pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err), err == nil && (pod.UID != p.pod.UID || !pod.DeletionTimestamp.IsZero()):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading pod %s: %w", p.pod.Name, err)
	}
	return found, nil
}

// notAlone is the failure of a pod that others have come beside.
func (p *Plan) notAlone(ctx context.Context, found []corev1.Pod) error {
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].Name
	}
	ctx, cancel := context.WithTimeout(ctx, readFor)
	defer cancel()
	workload, why := strings.ToLower(p.only.Kind)+" "+p.only.Name, p.client.Targets().WhyScaled(ctx, p.pod.Namespace, *p.only)
	return failure.New("holding a workload takes the operator: "+session.InstallHint, "%s", standing.NotAlone(p.pod.Name, names, workload, why))
}

// above asks what controls a ReplicaSet or a Job, once for each. Who may not read them
// has them stand for themselves.
func (p *Plan) above(ctx context.Context) standing.Above {
	return standing.Once(func(controller metav1.OwnerReference) (metav1.Object, error) {
		ctx, cancel := context.WithTimeout(ctx, readFor)
		defer cancel()
		var object metav1.Object
		var err error
		if controller.Kind == "Job" {
			object, err = p.client.Steady().BatchV1().Jobs(p.client.Namespace).Get(ctx, controller.Name, metav1.GetOptions{})
		} else {
			object, err = p.client.Steady().AppsV1().ReplicaSets(p.client.Namespace).Get(ctx, controller.Name, metav1.GetOptions{})
		}
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			return nil, nil
		}
		return object, err
	})
}
