package hold

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// ReplicaSet holds apps/v1 ReplicaSets that nothing controls.
type ReplicaSet struct {
	replicas
	direct
}

var _ Workload = ReplicaSet{}

// Resource is the plural that targets name it by.
func (ReplicaSet) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "apps", Resource: "replicasets"}
}

// Kind of its objects.
func (ReplicaSet) Kind() schema.GroupVersionKind {
	return appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
}

// New makes an empty one.
func (ReplicaSet) New() client.Object { return &appsv1.ReplicaSet{} }

// Inspect reads its state. A ReplicaSet rolls nothing out: its pods stay what
// they were when its template changes.
func (ReplicaSet) Inspect(object client.Object) State {
	s := object.(*appsv1.ReplicaSet)
	return State{
		Replicas:   wished(s.Spec.Replicas),
		Running:    s.Status.Replicas,
		Selector:   selectorOf(s.Spec.Selector),
		Rollout:    standing.Unseen(s.Status.ObservedGeneration, s.Generation),
		Controller: metav1.GetControllerOf(s),
	}
}

// SetReplicas changes the number.
func (ReplicaSet) SetReplicas(object client.Object, replicas int32) {
	object.(*appsv1.ReplicaSet).Spec.Replicas = &replicas
}

// Template of its pods.
func (ReplicaSet) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*appsv1.ReplicaSet).Spec.Template, nil
}

// Pods are those that it controls itself.
func (w ReplicaSet) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOf(ctx, reader, object.GetNamespace(), w.Inspect(object).Selector, object.GetUID())
}

// Settle waits for the pods to be there.
func (ReplicaSet) Settle(_ context.Context, _ API, object client.Object) (Unsettled, error) {
	s := object.(*appsv1.ReplicaSet)
	switch {
	case s.Status.ObservedGeneration < s.Generation:
		return Unsettled{For: "the replica set controller to see the restored number"}, nil
	case s.Status.Replicas < wished(s.Spec.Replicas):
		return Unsettled{For: fmt.Sprintf("the pods to be made: %d of %d", s.Status.Replicas, wished(s.Spec.Replicas))}, nil
	}
	return Unsettled{}, nil
}
