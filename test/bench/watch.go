package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
)

// A moment is the time at which a watch told of what was waited for. Asking
// again and again instead would add its pause to floor and figure alike, and
// make every goal easier to reach.

// podView is the pods of a selector, followed since before what is measured.
type podView struct {
	w    watch.Interface
	pods map[types.UID]core.Pod
}

// followPods lists the pods now and follows them.
func (b *bench) followPods(ctx context.Context, selector string) (*podView, error) {
	pods := b.cluster.Client.CoreV1().Pods(b.namespace)
	list, err := pods.List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods with %s: %w", selector, err)
	}
	w, err := pods.Watch(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: list.ResourceVersion})
	if err != nil {
		return nil, fmt.Errorf("following pods with %s: %w", selector, err)
	}
	v := &podView{w: w, pods: map[types.UID]core.Pod{}}
	for _, p := range list.Items {
		v.pods[p.UID] = p
	}
	return v, nil
}

func (v *podView) stop() { v.w.Stop() }

// until returns the moment at which the pods were as wanted.
func (v *podView) until(ctx context.Context, what string, enough func(map[types.UID]core.Pod) bool) (time.Time, error) {
	if enough(v.pods) {
		return time.Time{}, fmt.Errorf("waiting for %s: it was so before", what)
	}
	return wait(ctx, v.w, what, func(e watch.Event, p *core.Pod) bool {
		if v.pods[p.UID] = *p; e.Type == watch.Deleted {
			delete(v.pods, p.UID)
		}
		return enough(v.pods)
	})
}

// followDeployment follows one deployment from now on.
func (b *bench) followDeployment(ctx context.Context, name string) (watch.Interface, error) {
	deployments := b.cluster.Client.AppsV1().Deployments(b.namespace)
	d, err := deployments.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading deployment %s: %w", name, err)
	}
	w, err := deployments.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", name).String(),
		ResourceVersion: d.ResourceVersion,
	})
	if err != nil {
		return nil, fmt.Errorf("following deployment %s: %w", name, err)
	}
	return w, nil
}

// wait returns the moment at which an event was enough.
func wait[T runtime.Object](ctx context.Context, w watch.Interface, what string, enough func(watch.Event, T) bool) (time.Time, error) {
	for {
		select {
		case e, open := <-w.ResultChan():
			if !open {
				return time.Time{}, fmt.Errorf("waiting for %s: the watch has ended", what)
			}
			object, ok := e.Object.(T)
			if !ok {
				return time.Time{}, fmt.Errorf("waiting for %s: the watch says %v", what, e.Object)
			}
			if enough(e, object) {
				return time.Now(), nil
			}
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// wishes says that somebody wrote so many replicas.
func wishes(replicas int32) func(watch.Event, *apps.Deployment) bool {
	return func(_ watch.Event, d *apps.Deployment) bool {
		return d.Spec.Replicas != nil && *d.Spec.Replicas == replicas
	}
}

// available says that so many replicas are wished for and available.
func available(replicas int32) func(watch.Event, *apps.Deployment) bool {
	wished := wishes(replicas)
	return func(e watch.Event, d *apps.Deployment) bool {
		return wished(e, d) && d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas == replicas
	}
}

// over says that no container of any pod runs or can be started again. The
// operator takes the same for proof; a pod's object goes some milliseconds
// later.
func over(pods map[types.UID]core.Pod) bool {
	for _, p := range pods {
		if p.Status.Phase != core.PodSucceeded && p.Status.Phase != core.PodFailed {
			return false
		}
	}
	return true
}

// stopped says that the container of each pod has terminated for good: the pod
// is being deleted.
func stopped(container string) func(map[types.UID]core.Pod) bool {
	return func(pods map[types.UID]core.Pod) bool {
		for _, p := range pods {
			if p.DeletionTimestamp == nil {
				return false
			}
			for _, s := range p.Status.ContainerStatuses {
				if s.Name == container && s.State.Terminated == nil {
					return false
				}
			}
		}
		return true
	}
}

// podReady says that there is a pod and it is Ready.
func podReady(pods map[types.UID]core.Pod) bool {
	for _, p := range pods {
		for _, c := range p.Status.Conditions {
			if c.Type == core.PodReady && c.Status == core.ConditionTrue {
				return true
			}
		}
	}
	return false
}

// both returns the first error of several things that were done at once.
func both(fs ...func() error) error {
	errs := make(chan error, len(fs))
	for _, f := range fs {
		go func() { errs <- f() }()
	}
	var all []error
	for range fs {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}
