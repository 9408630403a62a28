package hold

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/hold/standing"
)

// JobMaker is a workload that makes jobs. Those that it has made go on while it is
// at zero, and one that waits for its next try has no pod by which it could be seen.
type JobMaker interface {
	Workload
	// ActiveJobs names the object's jobs that may begin pods.
	ActiveJobs(ctx context.Context, reader client.Reader, object client.Object) ([]string, error)
}

var _, _ JobMaker = CronJob{}, ScaledJob{}

// ActiveJobs are those that it controls.
func (CronJob) ActiveJobs(ctx context.Context, reader client.Reader, object client.Object) ([]string, error) {
	return activeJobs(ctx, reader, object)
}

// ActiveJobs are those that it controls.
func (ScaledJob) ActiveJobs(ctx context.Context, reader client.Reader, object client.Object) ([]string, error) {
	return activeJobs(ctx, reader, object)
}

func activeJobs(ctx context.Context, reader client.Reader, object client.Object) ([]string, error) {
	jobs, err := jobsOf(ctx, reader, object)
	if err != nil {
		return nil, err
	}
	var active []string
	for i := range jobs {
		job := &jobs[i]
		if job.DeletionTimestamp.IsZero() && !standing.Finished(job) && unsuspended(job.Spec.Suspend) != 0 {
			active = append(active, job.Name)
		}
	}
	return active, nil
}

// jobsOf are the jobs that an object controls.
func jobsOf(ctx context.Context, reader client.Reader, object client.Object) ([]batchv1.Job, error) {
	var jobs batchv1.JobList
	if err := reader.List(ctx, &jobs, client.InNamespace(object.GetNamespace())); err != nil {
		return nil, fmt.Errorf("listing the jobs of %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	var ours []batchv1.Job
	for i := range jobs.Items {
		if metav1.IsControlledBy(&jobs.Items[i], object) {
			ours = append(ours, jobs.Items[i])
		}
	}
	return ours, nil
}
