package plan

import (
	"context"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"understudy.dev/understudy/cli/session"
	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/config"
	"understudy.dev/understudy/operator/hold/standing"
)

// autoscalers are what sets the target's number, and what becomes of each.
func autoscalers(w *World) []Finding {
	if w.freezes() {
		return mayScale(w)
	}
	if w.Target.None() || w.Target.Object == nil || w.attaches() {
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
		name := "KEDA's ScaledObject " + scaler.GetName()
		if !w.Operator.May(scaledObjects.Group, scaledObjects.Resource) {
			found = append(found, Finding{Autoscaler, Warns, name + " goes on, as the operator may not pause it: messages that wait have it write a number, which is brought to zero again",
				"let the operator pause it: an administrator upgrades the chart with workloads.keda=true"})
			continue
		}
		do := ""
		if w.Operator.Workloads == nil {
			do = "where the operator may not pause it (the chart's value workloads.keda) it is named as one who contends"
		}
		found = append(found, Finding{Autoscaler, Notes, name + " is paused before the target is held and resumed after it is back, so that messages that wait do not wake it", do})
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
		if w.isTarget(scales(&scaler)) {
			found = append(found, scaler)
		}
	}
	return found
}

// scales is what a ScaledObject of KEDA's refers to, with its defaults.
func scales(scaler *unstructured.Unstructured) (apiVersion, kind, name string) {
	at := func(field, otherwise string) string {
		if text, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", field); text != "" {
			return text
		}
		return otherwise // as KEDA takes it
	}
	return at("apiVersion", "apps/v1"), at("kind", "Deployment"), at("name", "")
}

// mayScale are what may bring a pod beside the one that is frozen, and so end the
// session: whatever scales something that it belongs to.
func mayScale(w *World) []Finding {
	var found []Finding
	warn := func(scaler string, of *metav1.OwnerReference) {
		found = append(found, Finding{Autoscaler, Warns, standing.MayBeScaled(scaler, strings.ToLower(of.Kind)+" "+of.Name), standing.HoldWhole})
	}
	for i := range w.Autoscalers.Items {
		scaler := &w.Autoscalers.Items[i]
		ref := scaler.Spec.ScaleTargetRef
		of := w.owner(ref.APIVersion, ref.Kind, ref.Name)
		seen := ownedByKEDA(scaler.OwnerReferences) && w.ScaledObjects.Not == ""
		if of != nil && scaler.Spec.MaxReplicas > 1 && !seen {
			warn("HorizontalPodAutoscaler "+scaler.Name, of)
		}
	}
	for i := range w.ScaledObjects.Items {
		scaler := &w.ScaledObjects.Items[i]
		most, said, err := unstructured.NestedInt64(scaler.Object, "spec", "maxReplicaCount")
		if of := w.owner(scales(scaler)); of != nil && (!said || err != nil || most > 1) {
			warn("KEDA's ScaledObject "+scaler.GetName(), of)
		}
	}
	return found
}

// owner is what a reference is to, of all that the frozen pod belongs to; nil for
// nothing of it.
func (w *World) owner(apiVersion, kind, name string) *metav1.OwnerReference {
	group, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil
	}
	for i := range w.Target.Owners {
		of := &w.Target.Owners[i]
		if schema.FromAPIVersionAndKind(of.APIVersion, of.Kind).GroupKind() == group.WithKind(kind).GroupKind() && of.Name == name {
			return of
		}
	}
	return nil
}

// MayScale looks for what may bring a pod beside one that is to be frozen. What the
// user may not read, or is not answered, is none: a plan says that.
func MayScale(ctx context.Context, client *session.Client, t *target.Target) []Finding {
	if len(t.Owners) == 0 {
		return nil
	}
	w := &World{Takeover: config.TakeoverFreeze, Target: t}
	var lookups sync.WaitGroup
	w.lookAtAutoscalers(ctx, client, func(read func()) { lookups.Go(read) })
	lookups.Wait()
	return mayScale(w)
}

// isTarget says whether a reference is to the target.
func (w *World) isTarget(apiVersion, kind, name string) bool {
	group, err := schema.ParseGroupVersion(apiVersion)
	return err == nil && group.Group == w.Target.Group && kind == w.Target.Object.GetKind() && name == w.Target.Name
}
