package plan

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/hold"
)

const (
	paused = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, namespace: shop, uid: u1, generation: 1}
spec:
  replicas: 3
  paused: true
  template: {spec: {containers: [{name: app, image: x}]}}
status: {observedGeneration: 1, replicas: 3, updatedReplicas: 1}
`
	losing = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop, uid: u2, generation: 1}
spec:
  replicas: 2
  template: {spec: {containers: [{name: app, image: x}]}}
  volumeClaimTemplates: [{metadata: {name: data}}]
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}
status: {observedGeneration: 1}
`
	job = `
apiVersion: batch/v1
kind: Job
metadata: {name: import, namespace: shop, uid: u3}
spec: {template: {spec: {containers: [{name: app, image: x}]}}}
`
	canary = `
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web, namespace: shop, uid: u4, generation: 1}
spec: {replicas: 2, template: {spec: {containers: [{name: app, image: x}]}}}
status: {observedGeneration: "1", stableRS: a, currentPodHash: b}
`
)

// What a workload itself says against being held.
func TestStanding(t *testing.T) {
	all := func(w *World) []Finding {
		var found []Finding
		for _, look := range []check{kind, refusal, restarts, rollout, pausedRollout, zero} {
			found = append(found, look(w)...)
		}
		return found
	}
	for name, c := range map[string]struct {
		manifest string
		change   func(*World)
		want     []string
	}{
		"at rest":                             {worker, nil, nil},
		"a rollout":                           {strings.Replace(worker, "updatedReplicas: 3", "updatedReplicas: 1", 1), nil, []string{"warns RolloutInProgress: 1 of 3 pods are of the new template"}},
		"a paused rollout":                    {paused, nil, []string{"blocks RolloutPaused: a rollout of deployment/worker is paused, and would be waited for in vain: 1 of 3 pods are of the new template"}},
		"a paused rollout, and others before": {paused, func(w *World) { w.Asked.Wait = true }, []string{"warns RolloutPaused: is paused"}},
		"paused at rest":                      {strings.Replace(paused, "updatedReplicas: 1", "updatedReplicas: 3", 1), nil, nil},
		"not of a copy":                       {losing, func(w *World) { w.Takeover = "copy" }, nil},
		"at zero":                             {strings.Replace(worker, "replicas: 3\n  template", "replicas: 0\n  template", 1), nil, []string{"notes AlreadyAtZero: is at 0 replicas already"}},
		"loses data":                          {losing, nil, []string{"blocks HoldRefused: statefulset/db cannot be held: at zero replicas it would lose the data"}},
		"a job":                               {job, nil, []string{"blocks RestartNeeded: job/import is not held without its owner's word"}},
		"a job, allowed":                      {job, func(w *World) { w.Asked.RestartOK = true }, []string{"warns RestartNeeded: begun again"}},
		"a job of Kueue":                      {strings.Replace(job, "uid: u3", "uid: u3, labels: {kueue.x-k8s.io/queue-name: q}", 1), nil, []string{`blocks HoldRefused: Kueue suspends`}},
		"a canary":                            {canary, nil, []string{"blocks HoldRefused: it is between two versions"}},
		"kind not held":                       {worker, func(w *World) { w.Target.NotHeld = "it has no number" }, []string{"blocks KindNotHeld: it has no number"}},
		"an unseen canary":                    {strings.Replace(canary, "currentPodHash: b", "currentPodHash: a", 1), func(w *World) { w.Target.Object.SetGeneration(2) }, []string{"warns RolloutInProgress: generation 2"}},
	} {
		t.Run(name, func(t *testing.T) { expect(t, all(shop(t, c.manifest, c.change)), c.want...) })
	}
}

// TestAsTheOperator: what is said beforehand is what the operator says.
func TestAsTheOperator(t *testing.T) {
	for _, manifest := range []string{worker, strings.Replace(worker, "updatedReplicas: 3", "updatedReplicas: 1", 1), paused, losing, job, canary} {
		w := shop(t, manifest, nil)
		s := w.standing()
		kind, known := hold.AllKinds().For(schema.GroupResource{Group: w.Target.Group, Resource: w.Target.Resource})
		if !known {
			t.Fatalf("the operator does not know %s", w.Target)
		}
		object := kind.New()
		if _, loose := object.(*unstructured.Unstructured); loose {
			object = w.Target.Object
		} else if !w.into(object) {
			t.Fatalf("%s cannot be read", w.Target)
		}
		if its := kind.Inspect(object); its.Refusal != s.refusal || its.Rollout != s.rollout || its.Restarts != s.restarts {
			t.Errorf("%s: the plan says %+v, the operator %+v", w.Target, s, its)
		}
	}
}
