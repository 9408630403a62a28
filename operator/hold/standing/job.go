package standing

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// queueLabel is how Kueue knows the jobs that it admits; see its documentation,
// "Run A Kubernetes Job".
const queueLabel = "kueue.x-k8s.io/queue-name"

// JobRefusal names what else would suspend and resume the job, or that there is
// nothing left to be suspended.
func JobRefusal(j *batchv1.Job) string {
	if Finished(j) {
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

// Finished says whether a job is over.
func Finished(j *batchv1.Job) bool {
	for _, c := range j.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
