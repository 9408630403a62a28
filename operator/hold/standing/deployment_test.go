package standing

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestDeploymentRollout(t *testing.T) {
	for name, c := range map[string]struct {
		replicas *int32
		status   appsv1.DeploymentStatus
		want     string
	}{
		"done":                    {ptr.To(int32(3)), appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3}, ""},
		"done, but it crashes":    {ptr.To(int32(3)), appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, UnavailableReplicas: 3}, ""},
		"at zero":                 {ptr.To(int32(0)), appsv1.DeploymentStatus{ObservedGeneration: 2}, ""},
		"not seen":                {ptr.To(int32(3)), appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 3, UpdatedReplicas: 3}, "generation 2 was not yet seen"},
		"new pods missing":        {ptr.To(int32(3)), appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 1}, "1 of 3 pods"},
		"old pods left":           {ptr.To(int32(3)), appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 4, UpdatedReplicas: 3}, "1 pods of the old template"},
		"the default of one":      {nil, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1}, ""},
		"the default, none there": {nil, appsv1.DeploymentStatus{ObservedGeneration: 2}, "0 of 1 pods"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: c.replicas}, Status: c.status}
			if got := DeploymentRollout(d); !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A rollout that is paused never ends by itself, which is said.
func TestDeploymentPaused(t *testing.T) {
	for name, c := range map[string]struct {
		observed, updated int64
		want              string
	}{
		"between two templates": {2, 1, "1 of 3 pods are of the new template; it is paused, and ends only when it is resumed: kubectl rollout resume deployment/worker -n shop"},
		"at rest":               {2, 3, ""},
		"not seen":              {1, 3, "generation 2 was not yet seen by the deployment controller"},
	} {
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: "worker", Namespace: "shop", Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(int32(3)), Paused: true},
			Status: appsv1.DeploymentStatus{ObservedGeneration: c.observed, Replicas: 3, UpdatedReplicas: int32(c.updated)},
		}
		if got := DeploymentRollout(d); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
		if got := DeploymentPaused(d); got != (name == "between two templates") {
			t.Errorf("%s: never ends: %t", name, got)
		}
	}
}
