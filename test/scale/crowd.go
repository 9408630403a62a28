package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// abreast is how many sessions begin at the same time.
const abreast = 40

// crowd are the workloads and their developers.
type crowd struct {
	*plane
	size
	each int
	// renewing sessions; nobody renews any more once it is closed.
	renewing sync.WaitGroup
	gone     context.CancelFunc
	renewed  atomic.Int64
	failed   atomic.Int64
}

func (c *crowd) key(i int) client.ObjectKey {
	return client.ObjectKey{Namespace: fmt.Sprintf("team-%d", i%c.namespaces), Name: fmt.Sprintf("worker-%d", i)}
}

// deploy makes the workloads, and waits until all their pods run.
func (c *crowd) deploy(ctx context.Context) error {
	for i := range c.namespaces {
		if err := c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("team-%d", i)}}); err != nil {
			return fmt.Errorf("making a namespace: %w", err)
		}
	}
	if err := c.forEach(ctx, func(ctx context.Context, i int) error { return c.Create(ctx, c.workload(i)) }); err != nil {
		return fmt.Errorf("making the workloads: %w", err)
	}
	return c.untilRunning(ctx)
}

func (c *crowd) forEach(ctx context.Context, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(abreast)
	for i := range c.deployments {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

func (c *crowd) workload(i int) *appsv1.Deployment {
	key := c.key(i)
	labels := map[string]string{"app": key.Name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To(int32(c.each)), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeName: nodeName(i), TerminationGracePeriodSeconds: ptr.To(int64(5)), AutomountServiceAccountToken: ptr.To(false),
					Containers: []corev1.Container{{Name: "worker", Image: "registry.example/worker:1", Env: []corev1.EnvVar{{Name: "QUEUE", Value: "orders"}}}},
				},
			},
		},
	}
}

// byHand brings every workload to zero and back with nothing but writes of the
// numbers, as a floor: how long the numbers take, and all pods.
func (c *crowd) byHand(ctx context.Context) (numbers, pods time.Duration, err error) {
	scale := func(to int) error {
		return c.forEach(ctx, func(ctx context.Context, i int) error {
			key := c.key(i)
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
			if err := c.Patch(ctx, d, client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, to))); err != nil {
				return fmt.Errorf("scaling a workload by hand: %w", err)
			}
			return nil
		})
	}
	if err := scale(0); err != nil {
		return 0, 0, err
	}
	if err := c.untilAt(ctx, 0); err != nil {
		return 0, 0, err
	}
	// Deployments do not count pods that are on their way out.
	err = until(ctx, "no pod is left", func() (bool, error) {
		var pods metav1.PartialObjectMetadataList
		pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
		err := c.List(ctx, &pods, client.Limit(1))
		return len(pods.Items) == 0, err
	})
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := scale(c.each); err != nil {
		return 0, 0, err
	}
	numbers = time.Since(began)
	err = c.untilRunning(ctx)
	return numbers, time.Since(began), err
}

// untilRunning waits until every deployment has its number and its pods.
func (c *crowd) untilRunning(ctx context.Context) error { return c.untilAt(ctx, c.each) }

func (c *crowd) untilAt(ctx context.Context, number int) error {
	return until(ctx, fmt.Sprintf("all workloads have %d pods", number), func() (bool, error) {
		var list appsv1.DeploymentList
		if err := c.List(ctx, &list); err != nil {
			return false, err
		}
		n := 0
		for i := range list.Items {
			d := &list.Items[i]
			if *d.Spec.Replicas == int32(number) && d.Status.AvailableReplicas == int32(number) && d.Status.Replicas == int32(number) {
				n++
			}
		}
		return n == c.deployments, nil
	})
}

// until asks twice a second.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, fmt.Errorf("it took more than 15 minutes until %s", what))
	defer cancel()
	for {
		if ok, err := holds(); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// begin asks for all sessions, and waits until each is ready. Its owner renews
// it from then on.
func (c *crowd) begin(ctx context.Context) error {
	renewing, gone := context.WithCancel(ctx)
	c.gone = gone
	return c.forEach(ctx, func(ctx context.Context, i int) error {
		key := c.key(i)
		d := &appsv1.Deployment{}
		if err := c.Get(ctx, key, d); err != nil {
			return fmt.Errorf("reading a workload: %w", err)
		}
		s := &v1alpha1.Session{
			ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
			Spec: v1alpha1.SessionSpec{
				Target:    v1alpha1.Target{Group: "apps", Resource: "deployments", Name: d.Name, UID: d.UID, Container: "worker"},
				Takeover:  v1alpha1.TakeoverScaleDown,
				Owner:     v1alpha1.Owner{Username: "admin"},
				ClientKey: "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
				// A cluster that is slow because it is on two cores is not what is measured.
				SetupDeadlineSeconds: 600, LeaseDurationSeconds: int32(c.lease),
			},
		}
		if err := c.Create(ctx, s); err != nil {
			return fmt.Errorf("asking for a session: %w", err)
		}
		leased := false
		return until(ctx, "session "+key.String()+" is ready", func() (bool, error) {
			if err := c.Get(ctx, key, s); err != nil {
				return false, fmt.Errorf("reading a session: %w", err)
			}
			if !leased && c.Get(ctx, key, &coordinationv1.Lease{}) == nil {
				leased = true
				c.renewing.Go(func() { c.renew(renewing, key) })
			}
			ready := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
			if ready != nil && ready.Status == metav1.ConditionFalse && meta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionRestored) {
				return false, fmt.Errorf("session %s ended: %s: %s", key, ready.Reason, ready.Message)
			}
			return ready != nil && ready.Status == metav1.ConditionTrue, nil
		})
	})
}

// renew does what an owner's tool does, a third of the lease apart.
func (c *crowd) renew(ctx context.Context, key client.ObjectKey) {
	ticker := time.NewTicker(time.Duration(c.lease) * time.Second / 3)
	defer ticker.Stop()
	for {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		now := metav1.NowMicro().UTC().Format("2006-01-02T15:04:05.000000Z")
		err := c.Patch(ctx, lease, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"renewTime":"`+now+`"}}`)))
		if err == nil {
			c.renewed.Add(1)
		} else if ctx.Err() == nil {
			c.failed.Add(1)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// numbersBack waits until every deployment has its number again, and answers which had
// it when, in that order. It watches: asking for all of them again and again would take
// from what is measured.
func (c *crowd) numbersBack(ctx context.Context) (order []number, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 15*time.Minute, errors.New("it took more than 15 minutes until all numbers are back"))
	defer cancel()
	back := map[types.UID]bool{}
	see := func(d *appsv1.Deployment) {
		if back[d.UID] || *d.Spec.Replicas != int32(c.each) {
			return
		}
		back[d.UID] = true
		order = append(order, number{client.ObjectKeyFromObject(d), time.Now()})
	}
	for ctx.Err() == nil && len(back) < c.deployments {
		var list appsv1.DeploymentList
		if err := c.List(ctx, &list); err != nil {
			return nil, fmt.Errorf("reading the numbers: %w", err)
		}
		for i := range list.Items {
			see(&list.Items[i])
		}
		watching, err := c.Watch(ctx, &appsv1.DeploymentList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
		if err != nil {
			return nil, fmt.Errorf("watching the numbers: %w", err)
		}
		for len(back) < c.deployments {
			e, open := <-watching.ResultChan()
			if !open || e.Type == watch.Error {
				break // and begun anew
			}
			if d, ok := e.Object.(*appsv1.Deployment); ok {
				see(d)
			}
		}
		watching.Stop()
	}
	return order, context.Cause(ctx)
}

// number is when a workload had its own again.
type number struct {
	client.ObjectKey
	at time.Time
}

// slowest tells of the last numbers what their sessions waited for, in seconds since
// some time.
func (c *crowd) slowest(ctx context.Context, order []number, since time.Time) (told []string, err error) {
	const last = 5
	for _, n := range order[max(0, len(order)-last):] {
		s := &v1alpha1.Session{}
		if err := c.Get(ctx, n.ObjectKey, s); err != nil {
			return nil, fmt.Errorf("reading a session that has ended: %w", err)
		}
		at := func(condition string) string {
			found := meta.FindStatusCondition(s.Status.Conditions, condition)
			if found == nil {
				return "never"
			}
			return fmt.Sprintf("%.0f s", found.LastTransitionTime.Sub(since).Seconds())
		}
		told = append(told, fmt.Sprintf("%s was over after %s, its stand-in seen to end after %s, its number back after %.1f s",
			n.ObjectKey, at(v1alpha1.ConditionReady), at(v1alpha1.ConditionStandInReady), n.at.Sub(since).Seconds()))
	}
	return told, nil
}
