package cluster

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Report tells all that helps to see why something did not come to be: the
// namespace's deployments, pods, sessions with their conditions and events,
// and the end of the operator's log.
func (c *Cluster) Report(ctx context.Context, namespace string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "=== namespace %s\n", namespace)
	if deployments, err := c.Client.AppsV1().Deployments(namespace).List(ctx, metav1.ListOptions{}); err != nil {
		fmt.Fprintln(&out, err)
	} else {
		for _, d := range deployments.Items {
			wished := int32(-1)
			if d.Spec.Replicas != nil {
				wished = *d.Spec.Replicas
			}
			fmt.Fprintf(&out, "deployment %s: wishes %d, has %d, available %d, annotations %v\n",
				d.Name, wished, d.Status.Replicas, d.Status.AvailableReplicas, d.Annotations)
		}
	}
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
