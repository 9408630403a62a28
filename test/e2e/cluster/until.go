package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Until asks again and again until there is no error, and at the context's end
// returns the last one.
func Until(ctx context.Context, ask func(context.Context) error) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // not the one that the deadline itself makes
		} else if last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", last, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Available waits until the deployment has exactly that many available pods,
// none more and none that is on its way out.
func (c *Cluster) Available(ctx context.Context, namespace, name string, replicas int32) error {
	err := Until(ctx, func(ctx context.Context) error {
		d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		wished := int32(-1)
		if d.Spec.Replicas != nil {
			wished = *d.Spec.Replicas
		}
		s := d.Status
		if wished != replicas || s.ObservedGeneration != d.Generation || s.Replicas != replicas ||
			s.AvailableReplicas != replicas || s.UpdatedReplicas != replicas {
			return fmt.Errorf("it wishes %d, has %d, of which %d are available", wished, s.Replicas, s.AvailableReplicas)
		}
		if s.TerminatingReplicas != nil && *s.TerminatingReplicas != 0 {
			return fmt.Errorf("%d pods are terminating", *s.TerminatingReplicas)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("waiting for deployment %s/%s with %d replicas: %w", namespace, name, replicas, err)
	}
	return nil
}

// DeletePod deletes a pod at its own pace.
func (c *Cluster) DeletePod(ctx context.Context, namespace, name string) error {
	if err := c.Client.CoreV1().Pods(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("deleting pod %s/%s: %w", namespace, name, err)
	}
	return nil
}
