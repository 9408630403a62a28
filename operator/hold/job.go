package hold

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// Job holds batch/v1 Jobs. Suspending one ends its pods, which begin again from
// the start.
type Job struct {
	suspended
	direct
}

var _ Workload = Job{}

// Resource is the plural that targets name it by.
func (Job) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "batch", Resource: "jobs"}
}

// Kind of its objects.
func (Job) Kind() schema.GroupVersionKind { return batchv1.SchemeGroupVersion.WithKind("Job") }

// New makes an empty one.
func (Job) New() client.Object { return &batchv1.Job{} }

// Inspect reads its state.
func (Job) Inspect(object client.Object) State {
	j := object.(*batchv1.Job)
	state := State{
		Replicas:   unsuspended(j.Spec.Suspend),
		Running:    j.Status.Active,
		Selector:   labels.Nothing(),
		Refusal:    standing.JobRefusal(j),
		Controller: metav1.GetControllerOf(j),
	}
	if j.Spec.Selector != nil {
		state.Selector = selectorOf(j.Spec.Selector)
	}
	if state.Replicas != 0 {
		state.Restarts = standing.Restarts
	}
	return state
}

// SetReplicas suspends it or not.
func (Job) SetReplicas(object client.Object, replicas int32) {
	suspend := replicas == 0
	object.(*batchv1.Job).Spec.Suspend = &suspend
}

// Template of its pods.
func (Job) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*batchv1.Job).Spec.Template, nil
}

// Pods are those that it controls itself.
func (w Job) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOf(ctx, reader, object.GetNamespace(), w.Inspect(object).Selector, object.GetUID())
}

// Settle waits for the job controller to have taken it up again.
func (Job) Settle(_ context.Context, _ API, object client.Object) (Unsettled, error) {
	j := object.(*batchv1.Job)
	if unsuspended(j.Spec.Suspend) == 1 && !standing.Finished(j) && j.Status.StartTime == nil {
		return Unsettled{For: "the job controller to begin it again"}, nil
	}
	return Unsettled{}, nil
}
