package plan

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
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
		} else {
			expect(t, autoscalers(w))
		}
	}
}
