package cluster

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Report tells all that helps to see why something did not come to be: the
// nodes, the namespace's deployments, ReplicaSets, pods, sessions with their
// conditions and events, and the end of the operator's log.
func (c *Cluster) Report(ctx context.Context, namespace string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "=== namespace %s at %s\n", namespace, time.Now().Format("15:04:05"))
	c.reportNodes(ctx, &out)
	c.reportWorkloads(ctx, &out, namespace)
	if pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{}); err != nil {
		fmt.Fprintln(&out, err)
	} else {
		for _, p := range pods.Items {
			fmt.Fprintf(&out, "pod %s on %s: %s%s\n", p.Name, p.Spec.NodeName, p.Status.Phase, containers(p))
		}
	}
	c.reportSessions(ctx, &out, namespace)
	c.reportEvents(ctx, &out, namespace)
	c.reportOperator(ctx, &out)
	return out.String()
}

func (c *Cluster) reportNodes(ctx context.Context, out io.Writer) {
	nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, n := range nodes.Items {
		fmt.Fprintf(out, "node %s: unschedulable %v, taints %v", n.Name, n.Spec.Unschedulable, n.Spec.Taints)
		for _, condition := range n.Status.Conditions {
			if condition.Type == core.NodeReady {
				fmt.Fprintf(out, ", %s=%s %s", condition.Type, condition.Status, condition.Reason)
			}
		}
		fmt.Fprintln(out)
	}
}

func (c *Cluster) reportWorkloads(ctx context.Context, out io.Writer, namespace string) {
	deployments, err := c.Client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, d := range deployments.Items {
		fmt.Fprintf(out, "deployment %s: wishes %d, has %d, available %d, annotations %v\n",
			d.Name, ptr.Deref(d.Spec.Replicas, -1), d.Status.Replicas, d.Status.AvailableReplicas, d.Annotations)
	}
	sets, err := c.Client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, r := range sets.Items {
		fmt.Fprintf(out, "replicaset %s: wishes %d, has %d, available %d, generation %d of which %d is observed\n",
			r.Name, ptr.Deref(r.Spec.Replicas, -1), r.Status.Replicas, r.Status.AvailableReplicas, r.Generation, r.Status.ObservedGeneration)
		for _, condition := range r.Status.Conditions {
			fmt.Fprintf(out, "  %s=%s %s: %s (since %s)\n", condition.Type, condition.Status, condition.Reason, condition.Message, condition.LastTransitionTime.Format("15:04:05"))
		}
	}
}

func containers(p core.Pod) string {
	var out strings.Builder
	if p.DeletionTimestamp != nil {
		out.WriteString(", terminating")
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		fmt.Fprintf(&out, ", %s ready=%v restarts=%d", s.Name, s.Ready, s.RestartCount)
		if w := s.State.Waiting; w != nil {
			fmt.Fprintf(&out, " (%s %s)", w.Reason, w.Message)
		}
		if t := s.State.Terminated; t != nil {
			fmt.Fprintf(&out, " (ended with %d: %s %s)", t.ExitCode, t.Reason, t.Message)
		}
	}
	return out.String()
}

func (c *Cluster) reportSessions(ctx context.Context, out io.Writer, namespace string) {
	sessions, err := c.Sessions(ctx, namespace)
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, s := range sessions {
		fmt.Fprintf(out, "session %s of %s, deleted at %v, finalizers %v, record %+v, agent %+v\n",
			s.Name, s.Spec.Owner.Username, s.DeletionTimestamp, s.Finalizers, s.Status.Record, s.Status.Agent)
		for _, condition := range s.Status.Conditions {
			fmt.Fprintf(out, "  %s=%s %s: %s (since %s)\n", condition.Type, condition.Status, condition.Reason,
				condition.Message, condition.LastTransitionTime.Format("15:04:05"))
		}
	}
}

func (c *Cluster) reportEvents(ctx context.Context, out io.Writer, namespace string) {
	events, err := c.Client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	at := func(e core.Event) metav1.Time {
		if !e.LastTimestamp.IsZero() {
			return e.LastTimestamp
		}
		return metav1.NewTime(e.EventTime.Time)
	}
	slices.SortFunc(events.Items, func(a, b core.Event) int { return at(a).Compare(at(b).Time) })
	for _, e := range events.Items[max(0, len(events.Items)-60):] {
		fmt.Fprintf(out, "%s %s %s/%s %s: %s\n", at(e).Format("15:04:05"), e.Type, strings.ToLower(e.InvolvedObject.Kind),
			e.InvolvedObject.Name, e.Reason, e.Message)
	}
}

func (c *Cluster) reportOperator(ctx context.Context, out io.Writer) {
	pods, err := c.Client.CoreV1().Pods(OperatorNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=understudy"})
	if err != nil {
		fmt.Fprintln(out, err)
		return
	}
	for _, p := range pods.Items {
		fmt.Fprintf(out, "=== log of %s: %s%s\n", p.Name, p.Status.Phase, containers(p))
		log, err := c.Client.CoreV1().Pods(OperatorNamespace).GetLogs(p.Name, &core.PodLogOptions{TailLines: new(int64(60))}).DoRaw(ctx)
		if err != nil {
			fmt.Fprintln(out, err)
			continue
		}
		out.Write(log) //nolint:errcheck // a builder has no error
	}
}
