package hold

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// StatefulSet holds apps/v1 StatefulSets.
type StatefulSet struct {
	replicas
	direct
}

var _ Workload = StatefulSet{}

// Resource is the plural that targets name it by.
func (StatefulSet) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "statefulsets"}
}

// Kind of its objects.
func (StatefulSet) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("StatefulSet")
}

// New makes an empty one.
func (StatefulSet) New() client.Object { return &appsv1.StatefulSet{} }

// Inspect reads its state.
func (StatefulSet) Inspect(object client.Object) State {
	s := object.(*appsv1.StatefulSet)
	return State{
		Replicas:   wished(s.Spec.Replicas),
		Running:    s.Status.Replicas,
		Selector:   selectorOf(s.Spec.Selector),
		Rollout:    standing.StatefulSetRollout(s),
		Refusal:    standing.StatefulSetRefusal(s),
		Controller: metav1.GetControllerOf(s),
	}
}

// SetReplicas changes the number.
func (StatefulSet) SetReplicas(object client.Object, replicas int32) {
	object.(*appsv1.StatefulSet).Spec.Replicas = &replicas
}

// Template of its pods, without what makes each of them another one.
func (StatefulSet) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*appsv1.StatefulSet).Spec.Template, nil
}

// Pods are those that it controls itself.
func (w StatefulSet) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOf(ctx, reader, object.GetNamespace(), w.Inspect(object).Selector, object.GetUID())
}

// Settle waits for the first pod to be there: others may have to wait for it to
// be ready.
func (StatefulSet) Settle(_ context.Context, _ API, object client.Object) (Unsettled, error) {
	s := object.(*appsv1.StatefulSet)
	switch {
	case s.Status.ObservedGeneration < s.Generation:
		return Unsettled{For: "the stateful set controller to see the restored number"}, nil
	case wished(s.Spec.Replicas) > 0 && s.Status.Replicas == 0:
		return Unsettled{For: "the first pod to be made"}, nil
	}
	return Unsettled{}, nil
}
