package hold

import (
	"context"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// CronJob holds batch/v1 CronJobs: no new job is begun. Those that run are
// waited for.
type CronJob struct{ suspended }

var _ Workload = CronJob{}

// Resource is the plural that targets name it by.
func (CronJob) Resource() schema.GroupResource {
	return schema.GroupResource{Group: "batch", Resource: "cronjobs"}
}

// Kind of its objects.
func (CronJob) Kind() schema.GroupVersionKind { return batchv1.SchemeGroupVersion.WithKind("CronJob") }

// New makes an empty one.
func (CronJob) New() client.Object { return &batchv1.CronJob{} }

// Inspect reads its state.
func (CronJob) Inspect(object client.Object) State {
	c := object.(*batchv1.CronJob)
	return State{
		Replicas:   unsuspended(c.Spec.Suspend),
		Running:    int32(len(c.Status.Active)), //nolint:gosec // as many jobs as run at the same time
		Selector:   ofJobs(c.Spec.JobTemplate.Spec.Template.Labels),
		Controller: metav1.GetControllerOf(c),
	}
}

// ofJobs selects pods of any job with these labels: a job's own name is not
// known before there is one.
func ofJobs(template map[string]string) labels.Selector {
	selector := labels.SelectorFromSet(template)
	if name, err := labels.NewRequirement(batchv1.JobNameLabel, selection.Exists, nil); err == nil {
		selector = selector.Add(*name)
	}
	return selector
}

// SetReplicas suspends it or not.
func (CronJob) SetReplicas(object client.Object, replicas int32) {
	suspend := replicas == 0
	object.(*batchv1.CronJob).Spec.Suspend = &suspend
}

// Template of its jobs' pods.
func (CronJob) Template(_ context.Context, _ client.Reader, object client.Object) (*corev1.PodTemplateSpec, error) {
	return &object.(*batchv1.CronJob).Spec.JobTemplate.Spec.Template, nil
}

// Pods are those of all jobs that it controls.
func (w CronJob) Pods(ctx context.Context, reader client.Reader, object client.Object) ([]corev1.Pod, error) {
	return podsOfJobs(ctx, reader, object, w.Inspect(object).Selector)
}

func podsOfJobs(ctx context.Context, reader client.Reader, object client.Object, selector labels.Selector) ([]corev1.Pod, error) {
	jobs, err := jobsOf(ctx, reader, object)
	if err != nil {
		return nil, err
	}
	var owners []types.UID
	for i := range jobs {
		owners = append(owners, jobs[i].UID)
	}
	return podsOf(ctx, reader, object.GetNamespace(), selector, owners...)
}

// Controls asks the pod's job.
func (CronJob) Controls(ctx context.Context, reader client.Reader, namespace string, object types.UID, controller metav1.OwnerReference) (bool, error) {
	if controller.Kind != "Job" {
		return false, nil
	}
	return through(ctx, reader, namespace, object, controller, &batchv1.Job{})
}

// Settle has nothing to wait for: the next job begins when its time has come.
func (CronJob) Settle(context.Context, API, client.Object) (Unsettled, error) {
	return Unsettled{}, nil
}
