package standing

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
)

// DeploymentRollout looks at which pods there are, not at whether they are
// available: a worker that crashes all the time can be taken over too.
func DeploymentRollout(d *appsv1.Deployment) string {
	says := rolloutOf(d)
	if says != "" && DeploymentPaused(d) {
		says += "; it is paused, and ends only when it is resumed: " + Resume(d)
	}
	return says
}

// DeploymentPaused says whether a rollout goes on that has no end: its controller
// leaves the pods as they are until somebody resumes it.
func DeploymentPaused(d *appsv1.Deployment) bool {
	return d.Spec.Paused && d.Status.ObservedGeneration >= d.Generation && rolloutOf(d) != ""
}

// Resume is how a paused rollout goes on.
func Resume(d *appsv1.Deployment) string {
	return fmt.Sprintf("kubectl rollout resume deployment/%s -n %s", d.Name, d.Namespace)
}

func rolloutOf(d *appsv1.Deployment) string {
	replicas := ptr.Deref(d.Spec.Replicas, 1)
	switch {
	case d.Status.ObservedGeneration < d.Generation:
		return fmt.Sprintf("generation %d was not yet seen by the deployment controller", d.Generation)
	case d.Status.UpdatedReplicas < replicas:
		return fmt.Sprintf("%d of %d pods are of the new template", d.Status.UpdatedReplicas, replicas)
	case d.Status.Replicas > d.Status.UpdatedReplicas:
		return fmt.Sprintf("%d pods of the old template are left", d.Status.Replicas-d.Status.UpdatedReplicas)
	}
	return ""
}
