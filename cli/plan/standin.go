package plan

import (
	"cmp"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/clone"
)

// unknown is what stands in a stand-in that is never made for what only a
// session knows.
const unknown = "unknown"

// build makes the stand-in that the operator would make, with the agent's
// program by that way.
func (w *World) build(delivery v1alpha1.AgentDelivery) (*corev1.Pod, clone.Report, error) {
	name := cmp.Or(w.Session, unknown)
	opts := clone.Options{
		SessionName: name, SessionUID: unknown, PodName: name + "-standin-1", SecretName: name + "-agent-1",
		Container: w.Target.Container, AgentImage: cmp.Or(w.Operator.AgentImage, unknown), Delivery: delivery,
		TakesTraffic: w.scalesDown(),
		Services:     w.Services.Items, LimitRanges: w.LimitRanges.Items, Claims: w.Claims.Items,
		Selectors: clone.SelectorsOf(w.Policies.Items, w.Budgets.Items),
	}
	if c := w.Asked; c != nil {
		opts.TakesTraffic = opts.TakesTraffic || c.ShareTraffic
		opts.ExcludeContainers, opts.ExcludeInitContainers = c.ExcludeContainers, c.ExcludeInitContainers
		opts.ListenPorts = c.Listen.Ports
		opts.Agent = session.AgentPod(c.Agent, w.Target.None())
	}
	if w.Target.None() {
		opts.Container, opts.Delivery = clone.EmptyContainer, v1alpha1.DeliveryOwnImage
		return clone.StandIn(clone.FromNothing(w.Target.Namespace, opts), opts)
	}
	return clone.StandIn(w.source(), opts)
}

// source is what the operator makes a stand-in from.
func (w *World) source() clone.Source {
	if set := w.statefulSet(); set != nil {
		return clone.FromStatefulSet(set)
	}
	if w.Target.Template != nil {
		return clone.FromTemplate(w.Target.Namespace, *w.Target.Template)
	}
	return clone.FromPod(w.Target.Pod)
}

// rehearse makes the stand-in, for the checks.
func (w *World) rehearse() {
	if w.clones() && (w.Target.None() || w.spec() != nil) {
		w.standIn, w.report, w.impossible = w.build(v1alpha1.DeliveryInitContainer)
	}
}

// statefulSet is the target where it is one.
func (w *World) statefulSet() *appsv1.StatefulSet {
	set := &appsv1.StatefulSet{}
	if w.Target.Group != appsv1.GroupName || w.Target.Resource != "statefulsets" || !w.into(set) {
		return nil
	}
	return set
}

// into reads the target as what it is.
func (w *World) into(object any) bool {
	return w.Target.Object != nil && runtime.DefaultUnstructuredConverter.FromUnstructured(w.Target.Object.Object, object) == nil
}
