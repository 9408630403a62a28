package session

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"understudy.dev/understudy/cli/failure"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// MayTouch fails for a target of a kind that the operator was given no rights on: it
// could neither hold nor copy it. The error is a *failure.Failure. Of an operator
// whose chart does not say it, nobody can tell.
func (o Operator) MayTouch(t v1alpha1.Target) error {
	if o.May(t.Group, t.Resource) {
		return nil
	}
	return failure.New("an administrator upgrades the chart with "+value(t), "the operator has no rights on %s.%s: its chart does not list them", t.Resource, t.Group)
}

// May says whether the operator may touch a kind, as far as its chart says.
func (o Operator) May(group, resource string) bool {
	switch group {
	case corev1.GroupName, appsv1.GroupName, batchv1.GroupName:
		return true // Kubernetes' own
	}
	return o.Workloads == nil || slices.Contains(o.Workloads, resource+"."+group)
}

// value is the one of the chart's that lists a kind.
func value(t v1alpha1.Target) string {
	switch t.Resource + "." + t.Group {
	case "rollouts.argoproj.io":
		return "workloads.argoRollouts=true"
	case "scaledjobs.keda.sh":
		return "workloads.keda=true"
	}
	return fmt.Sprintf("workloads.custom=[{group: %s, resource: %s}] (beside those that it lists already)", t.Group, t.Resource)
}
