package plan

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// autoscalers are what sets the target's number, and what becomes of each.
func autoscalers(w *World) []Finding {
	if w.Target.None() || w.Target.Object == nil || w.freezes() || w.attaches() {
		return nil
	}
	var found []Finding
	for i := range w.Autoscalers.Items {
		scaler := &w.Autoscalers.Items[i]
		of := scaler.Spec.ScaleTargetRef
		if !w.isTarget(of.APIVersion, of.Kind, of.Name) || ownedByKEDA(scaler.OwnerReferences) {
			continue
		}
		name := "HorizontalPodAutoscaler " + scaler.Name
		switch {
		case !w.scalesDown():
			found = append(found, Finding{Autoscaler, Notes, name + " counts the stand-in among the target's pods, whose labels it has, when it measures them", ""})
		case scaler.Spec.MinReplicas != nil && *scaler.Spec.MinReplicas == 0:
			found = append(found, Finding{Autoscaler, Warns, name + " may scale from zero by itself: what it writes meanwhile is brought to zero again, and is what comes back at the end", ""})
		default:
			found = append(found, Finding{Autoscaler, Notes, name + " rests while the target is at 0 replicas, as Kubernetes has it, and goes on from the number that comes back", ""})
		}
	}
	for _, scaler := range w.scaledObjects() {
		found = append(found, Finding{Autoscaler, Notes, "KEDA's ScaledObject " + scaler.GetName() + " is paused before the target is held and resumed after it is back, so that messages that wait do not wake it",
			"where the operator may not pause it (the chart's value workloads.keda) it is named as one who contends"})
	}
	return found
}

// scaledObjects are those of KEDA that would be paused.
func (w *World) scaledObjects() []unstructured.Unstructured {
	if !w.scalesDown() {
		return nil
	}
	var found []unstructured.Unstructured
	for _, scaler := range w.ScaledObjects.Items {
		at := func(field, otherwise string) string {
			if text, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", field); text != "" {
				return text
			}
			return otherwise // as KEDA takes it
		}
		if w.isTarget(at("apiVersion", "apps/v1"), at("kind", "Deployment"), at("name", "")) {
			found = append(found, scaler)
		}
	}
	return found
}

// isTarget says whether a reference is to the target.
func (w *World) isTarget(apiVersion, kind, name string) bool {
	group, err := schema.ParseGroupVersion(apiVersion)
	return err == nil && group.Group == w.Target.Group && kind == w.Target.Object.GetKind() && name == w.Target.Name
}
