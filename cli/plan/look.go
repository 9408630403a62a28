package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

var scaledObjects = schema.GroupVersionResource{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"}

// Look reads what is around a target into the world, of which what was asked for
// and the target are known. It changes nothing, and asks for everything at once:
// lists of the target's namespace alone, and of nodes one for each thing that
// the pod asks of them. What the user may not read is noted; the verb is the
// right on the target that the session needs.
//
// The error is for a cluster that does not answer.
func Look(ctx context.Context, client *session.Client, w *World, verb string) error {
	w.Session = session.Name(w.Target.Name)
	namespace := client.Namespace
	var unanswered error
	mayMake := false
	var lookups sync.WaitGroup
	together := func(read func()) { lookups.Go(read) }

	together(func() { unanswered = w.lookForRights(ctx, client, verb) })
	together(func() { w.Username, _ = client.Username(ctx) })
	together(func() { mayMake, _ = client.Allowed(ctx, "create", namespace, "", "pods", "") })
	together(func() { w.lookAtOperator(ctx, client) })
	if !w.Target.None() {
		w.lookAround(ctx, client, together)
	}
	if w.clones() {
		w.lookAtNamespace(ctx, client, together)
	}
	lookups.Wait()
	if unanswered != nil {
		return unanswered
	}
	if w.Installed == nil {
		w.Installed = w.noOperator
	}
	if w.clones() {
		together(func() { w.try(ctx, client, mayMake) })
	}
	if w.scalesDown() {
		together(func() { w.tryHold(ctx, client) })
	}
	if w.Installed == nil && len(w.Rights) == 0 {
		together(func() { w.trySession(ctx, client) })
	}
	lookups.Wait()
	return nil
}

// lookAtOperator reads which operator is installed, and whether it works.
func (w *World) lookAtOperator(ctx context.Context, client *session.Client) {
	operator, err := client.Operator(ctx)
	switch {
	case errors.Is(err, session.ErrNoOperator), errors.Is(err, session.ErrNotInstalled):
		w.noOperator = err
		return
	case err != nil:
		w.OperatorNot = short(err).Error()
		return
	}
	w.Operator = operator
	w.OperatorNot, w.Idle = client.Idle(ctx, operator)
}

// lookAround reads who else has to do with the target, or with its queue.
func (w *World) lookAround(ctx context.Context, client *session.Client, together func(func())) {
	all := metav1.ListOptions{}
	namespace := client.Namespace
	together(func() {
		found, _, err := client.List(ctx)
		w.Sessions = seen("list sessions", found, short(err))
	})
	together(func() {
		found, forbidden, err := target.List(ctx, client.Targets(), namespace)
		w.Workloads = seen("list workloads", found, err)
		if len(forbidden) > 0 {
			w.Workloads.Not = "you may not list " + strings.Join(forbidden, ", ")
		}
	})
	together(func() {
		list, err := client.Kube.CoreV1().Services(namespace).List(ctx, all)
		w.Services = seen("list services", items(list, err, func(l *corev1.ServiceList) []corev1.Service { return l.Items }), err)
	})
	w.lookAtAutoscalers(ctx, client, together)
}

// lookAtAutoscalers reads what sets a number that is brought to zero, that a copy is
// counted in, or that must not change.
func (w *World) lookAtAutoscalers(ctx context.Context, client *session.Client, together func(func())) {
	if !w.asksForAutoscalers() {
		return
	}
	all := metav1.ListOptions{}
	together(func() {
		list, err := client.Kube.AutoscalingV2().HorizontalPodAutoscalers(client.Namespace).List(ctx, all)
		w.Autoscalers = seen("list horizontalpodautoscalers", items(list, err, func(l *autoscalingv2.HorizontalPodAutoscalerList) []autoscalingv2.HorizontalPodAutoscaler {
			return l.Items
		}), err)
	})
	if !w.holds() {
		return
	}
	together(func() {
		list, err := client.Objects.Resource(scaledObjects).Namespace(client.Namespace).List(ctx, all)
		if apierrors.IsNotFound(err) {
			return // there is no KEDA
		}
		w.ScaledObjects = seen("list scaledobjects", items(list, err, func(l *unstructured.UnstructuredList) []unstructured.Unstructured { return l.Items }), err)
	})
}

// asksForAutoscalers says whether it matters who sets the target's number.
func (w *World) asksForAutoscalers() bool {
	return w.clones() || w.freezes() && len(w.Target.Owners) > 0
}

// lookAtNamespace reads what bounds a new pod, and what knows of it.
func (w *World) lookAtNamespace(ctx context.Context, client *session.Client, together func(func())) {
	all := metav1.ListOptions{}
	core, namespace := client.Kube.CoreV1(), client.Namespace
	together(func() {
		list, err := core.ResourceQuotas(namespace).List(ctx, all)
		w.Quotas = seen("list resourcequotas", items(list, err, func(l *corev1.ResourceQuotaList) []corev1.ResourceQuota { return l.Items }), err)
	})
	together(func() {
		list, err := core.LimitRanges(namespace).List(ctx, all)
		w.LimitRanges = seen("list limitranges", items(list, err, func(l *corev1.LimitRangeList) []corev1.LimitRange { return l.Items }), err)
	})
	together(func() {
		list, err := core.PersistentVolumeClaims(namespace).List(ctx, all)
		w.Claims = seen("list persistentvolumeclaims", items(list, err, func(l *corev1.PersistentVolumeClaimList) []corev1.PersistentVolumeClaim { return l.Items }), err)
	})
	together(func() {
		list, err := client.Kube.NetworkingV1().NetworkPolicies(namespace).List(ctx, all)
		w.Policies = seen("list networkpolicies", items(list, err, func(l *networkingv1.NetworkPolicyList) []networkingv1.NetworkPolicy { return l.Items }), err)
	})
	together(func() {
		list, err := client.Kube.PolicyV1().PodDisruptionBudgets(namespace).List(ctx, all)
		w.Budgets = seen("list poddisruptionbudgets", items(list, err, func(l *policyv1.PodDisruptionBudgetList) []policyv1.PodDisruptionBudget { return l.Items }), err)
	})
	together(func() {
		found, err := core.Namespaces().Get(ctx, namespace, metav1.GetOptions{})
		w.Namespace = seen("get namespace "+namespace, items(found, err, func(n *corev1.Namespace) []corev1.Namespace { return []corev1.Namespace{*n} }), err)
	})
	together(func() { w.lookForNodes(ctx, client) })
}

// lookForNodes asks for one node of each kind that the pod asks for. The API
// server chooses: the answer does not grow with the cluster.
func (w *World) lookForNodes(ctx context.Context, client *session.Client) {
	spec := w.spec()
	if spec == nil {
		return
	}
	selectors, err := Selectors(spec)
	if err != nil {
		w.NodesAsked, w.Nodes.Not = true, err.Error()
		return
	}
	for _, selector := range selectors {
		w.NodesAsked = true
		list, err := client.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{
			LabelSelector: selector.String(), FieldSelector: "spec.unschedulable=false", Limit: 1,
		})
		found := seen("list nodes", items(list, err, func(l *corev1.NodeList) []corev1.Node { return l.Items }), err)
		w.Nodes.Items = append(w.Nodes.Items, found.Items...)
		if w.Nodes.Not = found.Not; w.Nodes.Not != "" || len(w.Nodes.Items) > 0 {
			return
		}
	}
}

// lookForRights asks for what a session needs of the cluster and of its user.
func (w *World) lookForRights(ctx context.Context, client *session.Client, verb string) error {
	errs := make([]error, 3)
	var lookups sync.WaitGroup
	lookups.Go(func() { errs[0] = client.Installed(ctx) })
	lookups.Go(func() { errs[1] = client.MayCreate(ctx) })
	lookups.Go(func() { errs[2] = client.MayTakeOver(ctx, w.Target, verb) })
	var others error
	lookups.Go(func() { others = mayFollow(ctx, client) })
	lookups.Wait()
	for i, err := range append(errs, others) {
		var known *failure.Failure
		switch {
		case err == nil:
		case !errors.As(err, &known):
			return err
		case i == 0:
			w.Installed = err
		default:
			w.Rights = append(w.Rights, err)
		}
	}
	return nil
}

// mayFollow fails where the user may make a session, and not see what becomes
// of it, or not end it. A cluster that cannot tell is not asked further.
func mayFollow(ctx context.Context, client *session.Client) error {
	rights, err := client.Rights(ctx, client.Namespace)
	if err != nil {
		return nil //nolint:nilerr // exec does not ask for it either
	}
	var missing []string
	for _, verb := range []string{"get", "list", "watch", "delete"} {
		if allowed, sure := rights.Allow(verb, v1alpha1.GroupVersion.Group, v1alpha1.Resource.Resource, ""); !allowed && sure {
			missing = append(missing, verb)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return failure.New(target.UserRole(client.Namespace), "you may not %s sessions in namespace %s", strings.Join(missing, ", "), client.Namespace)
}

// seen is what came of a read, which is named for the message: "list services".
func seen[T any](read string, found []T, err error) Seen[T] {
	switch {
	case err == nil:
		return Seen[T]{Items: found}
	case apierrors.IsForbidden(err):
		return Seen[T]{Not: "you may not " + read}
	}
	return Seen[T]{Not: short(err).Error()}
}

// items are those of a list that was read.
func items[L, T any](list L, err error, of func(L) []T) []T {
	if err != nil {
		return nil
	}
	return of(list)
}

// short leaves out what a failure of its own says at length.
func short(err error) error {
	var known *failure.Failure
	if errors.As(err, &known) {
		return errors.New(known.What)
	}
	if err == nil {
		return nil
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s", text)
}
