package hold

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// queueLabel is how Kueue knows the jobs that it admits; see its documentation,
// "Run A Kubernetes Job".
const queueLabel = "kueue.x-k8s.io/queue-name"

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
		Refusal:    jobRefusal(j),
		Controller: metav1.GetControllerOf(j),
	}
	if j.Spec.Selector != nil {
		state.Selector = selectorOf(j.Spec.Selector)
	}
	if state.Replicas != 0 {
		state.Restarts = "suspending a job ends its pods, and what they have done so far is begun again at the end"
	}
	return state
}

func jobRefusal(j *batchv1.Job) string {
	if finished(j) {
		return "it has finished: there is nothing to stand in for"
	}
	if queue, ok := j.Labels[queueLabel]; ok {
		return fmt.Sprintf("Kueue suspends and resumes it (queue %q) and would do so during the session: take it out of the queue, or take a copy (--copy-target alone)", queue)
	}
	if by := j.Spec.ManagedBy; by != nil && *by != batchv1.JobControllerName {
		return fmt.Sprintf("its pods are made by another controller than Kubernetes' own (spec.managedBy: %s)", *by)
	}
	return ""
}

func finished(j *batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
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
func (Job) Settle(_ context.Context, _ API, object client.Object) (string, error) {
	j := object.(*batchv1.Job)
	if unsuspended(j.Spec.Suspend) == 1 && !finished(j) && j.Status.StartTime == nil {
		return "the job controller to begin it again", nil
	}
	return "", nil
}
