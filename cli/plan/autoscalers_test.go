package plan

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/operator/hold"
)

// Who sets the number, and what becomes of them.
func TestAutoscalers(t *testing.T) {
	hpa := func(more string) string {
		return "{metadata: {name: worker" + more + ", scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}"
	}
	copies := func(w *World) { w.Takeover = "copy" }
	for name, c := range map[string]struct {
		scaler string
		change func(*World)
		want   []string
	}{
		"one":             {hpa("}, spec: {minReplicas: 1"), nil, []string{"notes Autoscaler: HorizontalPodAutoscaler worker rests while the target is at 0"}},
		"to zero":         {hpa("}, spec: {minReplicas: 0"), nil, []string{"warns Autoscaler: may scale from zero by itself"}},
		"beside a copy":   {hpa("}, spec: {minReplicas: 1"), copies, []string{"notes Autoscaler: counts the stand-in"}},
		"KEDA's own":      {hpa(", ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: s}]}, spec: {minReplicas: 1"), nil, nil},
		"another's":       {"{metadata: {name: web}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}", nil, nil},
		"of another kind": {"{metadata: {name: worker}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: worker}}}", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, worker, func(w *World) {
				w.Autoscalers = seeing[autoscalingv2.HorizontalPodAutoscaler](t, c.scaler)
				if c.change != nil {
					c.change(w)
				}
			})
			expect(t, autoscalers(w), c.want...)
		})
	}
}

// KEDA's references are read as KEDA and the operator read them.
func TestScaledObjects(t *testing.T) {
	for text, of := range map[string]bool{
		"{name: worker}": true, "{name: web}": false,
		"{name: worker, kind: Deployment, apiVersion: apps/v1}": true, "{name: worker, kind: StatefulSet}": false,
		"{name: worker, kind: Deployment, apiVersion: example.com/v1}": false,
	} {
		manifest := "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: s}, spec: {scaleTargetRef: " + text + "}}"
		w := shop(t, worker, func(w *World) { w.ScaledObjects = seeing[unstructured.Unstructured](t, manifest) })
		kind := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
		if its := (hold.ScaledObject{}).Scales(&w.ScaledObjects.Items[0], kind, "worker"); its != of {
			t.Fatalf("%s: the operator says %v", text, its)
		}
		if of {
			expect(t, autoscalers(w), "notes Autoscaler: KEDA's ScaledObject s is paused before")
			w.Operator.Workloads = []string{"rollouts.argoproj.io"}
			expect(t, autoscalers(w), "warns Autoscaler: KEDA's ScaledObject s goes on, as the operator may not pause it")
			w.Operator.Workloads = []string{"scaledobjects.keda.sh"}
			expect(t, autoscalers(w), "notes Autoscaler: KEDA's ScaledObject s is paused before")
		} else {
			expect(t, autoscalers(w))
		}
	}
}

// What may bring another pod beside the one that is frozen is warned of.
func TestMayScale(t *testing.T) {
	const hpa, keda = "HorizontalPodAutoscaler", "ScaledObject"
	for name, c := range map[string]struct {
		kind, scaler string
		change       func(*World)
		want         []string
	}{
		"of its deployment":       {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}", nil, []string{"warns Autoscaler: HorizontalPodAutoscaler cpu may give deployment worker more pods"}},
		"of what that is part of": {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: example.com/v1, kind: Farm, name: north}}}", nil, []string{"warns Autoscaler: farm north"}},
		"to one at most":          {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 1, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}", nil, nil},
		"of another":              {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}}", nil, nil},
		"of a bare pod's":         {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}", func(w *World) { w.Target.Owners = nil }, nil},
		"attached to":             {hpa, "{metadata: {name: cpu}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}", func(w *World) { w.Takeover = "none" }, nil},
		"KEDA's own":              {hpa, "{metadata: {name: k, ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: s}]}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}", nil, nil},
		"KEDA's own, of which nothing else is seen": {hpa, "{metadata: {name: k, ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: s}]}, spec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: worker}}}",
			func(w *World) { w.ScaledObjects.Not = "you may not list scaledobjects" }, []string{"warns Autoscaler: HorizontalPodAutoscaler k"}},
		"by its queue":         {keda, "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: s}, spec: {scaleTargetRef: {name: worker}}}", nil, []string{"warns Autoscaler: KEDA's ScaledObject s may give deployment worker more pods"}},
		"by its queue, to one": {keda, "{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {name: s}, spec: {maxReplicaCount: 1, scaleTargetRef: {name: worker}}}", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := shop(t, lone, func(w *World) {
				w.Takeover = "freeze"
				w.Target.Owners = []metav1.OwnerReference{
					{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "worker-1"}, {APIVersion: "apps/v1", Kind: "Deployment", Name: "worker"}, {APIVersion: "example.com/v1", Kind: "Farm", Name: "north"},
				}
				if c.kind == hpa {
					w.Autoscalers = seeing[autoscalingv2.HorizontalPodAutoscaler](t, c.scaler)
				} else {
					w.ScaledObjects = seeing[unstructured.Unstructured](t, c.scaler)
				}
				if c.change != nil {
					c.change(w)
				}
			})
			expect(t, autoscalers(w), c.want...)
		})
	}
}
