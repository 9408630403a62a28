package hold

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// DaemonSet is a kind that has no number: it can be copied, or a pod of it
// frozen, but not held.
type DaemonSet struct{ numberless }

// Pod is a pod that nothing controls: it can be copied or frozen, but not held,
// for it would have to be deleted.
type Pod struct{ numberless }

var (
	_ Workload = DaemonSet{}
	_ Workload = Pod{}
)

// numberless is what kinds have in common that cannot be held.
type numberless struct{ direct }

func (numberless) SetReplicas(client.Object, int32) {}
func (numberless) Field() []string                  { return []string{"f:spec", "f:replicas"} }
func (numberless) Describe(int32) string            { return "as it is" }
func (numberless) Settle(context.Context, API, client.Object) (Unsettled, error) {
	return Unsettled{}, nil
}

// Holds says whether objects of a kind can be held at all.
func Holds(kind Workload) bool {
	switch kind.(type) {
	case DaemonSet, Pod:
		return false
	}
	return true
}

// Resource is the plural that targets name it by.
func (DaemonSet) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "daemonsets"}
}

// Kind of its objects.
func (DaemonSet) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("DaemonSet")
}

// New makes an empty one.
func (DaemonSet) New() client.Object { return &appsv1.DaemonSet{} }

// Inspect reads its state.
func (DaemonSet) Inspect(object client.Object) State {
	d := object.(*appsv1.DaemonSet)
	return State{
		Replicas: 1, Running: d.Status.CurrentNumberScheduled,
		Selector:   selectorOf(d.Spec.Selector),
		Refusal:    "a DaemonSet has no number of replicas that could be brought to zero: take a copy beside it (--copy-target alone), or freeze a pod of it (--pause)",
		Controller: metav1.GetControllerOf(d),
	}
}

// Template of its pods.
func (DaemonSet) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*appsv1.DaemonSet).Spec.Template, nil
}

// Pods are those that it controls itself.
func (w DaemonSet) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOf(ctx, reader, object.GetNamespace(), w.Inspect(object).Selector, object.GetUID())
}

// Resource is the plural that targets name it by.
func (Pod) Resource() schema.GroupResource { return schema.GroupResource{Resource: "pods"} }

// Kind of its objects.
func (Pod) Kind() schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind("Pod") }

// New makes an empty one.
func (Pod) New() client.Object { return &corev1.Pod{} }

// Inspect reads its state.
func (Pod) Inspect(object client.Object) State {
	return State{
		Replicas: 1, Running: 1,
		Selector:   labels.Nothing(),
		Refusal:    "nothing would make a deleted pod again: take a copy beside it (--copy-target alone), or freeze it (--pause)",
		Controller: metav1.GetControllerOf(object),
	}
}

// Template is none: the pod itself is what is copied.
func (Pod) Template(context.Context, client.Reader, client.Object) (*corev1.PodTemplateSpec, error) {
	return nil, nil //nolint:nilnil // the contract's own "cannot be told"
}

// Pods is the pod.
func (Pod) Pods(_ context.Context, _ client.Reader, object client.Object) ([]corev1.Pod, error) {
	return []corev1.Pod{*object.(*corev1.Pod)}, nil
}
