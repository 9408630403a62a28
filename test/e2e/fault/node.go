package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"

	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/test/e2e/cluster"
)

// RestartOnNode kills one of a node's own programs ("kubelet", "containerd") and
// starts it again; it returns when the program is ready.
func RestartOnNode(ctx context.Context, c *cluster.Cluster, node, program string) error {
	return control(ctx, c, "restart", "--kill", node+"/"+program)
}

// Drain does what `kubectl drain` does: no pod is put on the node any more, and
// those on it are evicted, but for the ones that spare says so of.
func Drain(ctx context.Context, c *cluster.Cluster, node string, spare func(core.Pod) bool) error {
	if err := schedulable(ctx, c, node, false); err != nil {
		return err
	}
	pods, err := c.Client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	var failures []error
	for _, pod := range pods.Items {
		daemon := slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == "DaemonSet" || o.Kind == "Node" })
		if daemon || spare(pod) {
			continue
		}
		err := c.Client.CoreV1().Pods(pod.Namespace).EvictV1(ctx, &policy.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
		if err != nil && !apierrors.IsNotFound(err) {
			failures = append(failures, fmt.Errorf("evicting pod %s/%s: %w", pod.Namespace, pod.Name, err))
		}
	}
	return errors.Join(failures...)
}

// Undrain lets pods be put on the node again.
func Undrain(ctx context.Context, c *cluster.Cluster, node string) error {
	return schedulable(ctx, c, node, true)
}

func schedulable(ctx context.Context, c *cluster.Cluster, node string, yes bool) error {
	patch := fmt.Appendf(nil, `{"spec":{"unschedulable":%t}}`, !yes)
	if _, err := c.Client.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("marking node %s: %w", node, err)
	}
	return nil
}
