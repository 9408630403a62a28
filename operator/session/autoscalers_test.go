package session

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// wantsAnnotation is the number that the test's KEDA finds its triggers to ask for.
const wantsAnnotation = "test/wants"

// withKinds has the API server know the kinds of others that workloads are of.
func (w *world) withKinds() *stage {
	w.t.Helper()
	s := &stage{world: w}
	for _, definition := range definitions {
		s.ensure(s.object(definition))
	}
	return s
}

// scaled makes a ScaledObject of a workload.
func (s *stage) scaled(name string) *unstructured.Unstructured {
	s.t.Helper()
	scaler := s.named(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, spec: {scaleTargetRef: {name: NAME}}}`, name)
	s.until("the API server serves ScaledObjects", func() bool { return s.Create(s.ctx, scaler) == nil })
	return scaler
}

// playKEDA makes one move of KEDA's operator: it says whether it is paused, and
// if it is not it sets the number that its triggers ask for.
func (s *stage) playKEDA(kind schema.GroupVersionKind) {
	s.t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := s.List(s.ctx, list, client.InNamespace(s.namespace)); err != nil {
		return // not served yet
	}
	for i := range list.Items {
		scaler := &list.Items[i]
		_, at := scaler.GetAnnotations()["autoscaling.keda.sh/paused-replicas"]
		value := scaler.GetAnnotations()["autoscaling.keda.sh/paused"]
		pause, err := strconv.ParseBool(value)
		pause = pause || at || (value != "" && err != nil)
		before := scaler.DeepCopy()
		status := "False"
		if pause {
			status = "True"
		}
		scaler.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Paused", "status": status}}}
		if data, _ := client.MergeFrom(before).Data(scaler); string(data) != "{}" {
			s.must(client.IgnoreNotFound(s.Status().Patch(s.ctx, scaler, client.MergeFrom(before))))
		}
		wants, err := strconv.Atoi(scaler.GetAnnotations()[wantsAnnotation])
		name, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", "name")
		if pause || err != nil || name == "" || int(*s.deployment(name).Spec.Replicas) == wants {
			continue
		}
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, wants))
		s.must(s.SubResource("scale").Patch(s.ctx, s.deployment(name), patch, client.FieldOwner("keda")))
	}
}

// KEDA is paused before the workload is held and goes on after it is back; what
// somebody had said about the pause before is there again; and a workload that
// KEDA has at zero is not woken.
func TestAutoscalersStopFirstAndStartLast(t *testing.T) {
	s := newStage(t)
	s.start()
	for name, c := range map[string]struct {
		annotations string
		replicas    int32
		force       bool
	}{
		"scaled":         {`{test/wants: "2"}`, 2, false},
		"said-false":     {`{test/wants: "2", autoscaling.keda.sh/paused: "false"}`, 2, false},
		"paused":         {`{autoscaling.keda.sh/paused: "yes"}`, 2, false},
		"paused-at":      {`{autoscaling.keda.sh/paused-replicas: "2"}`, 2, false},
		"at-zero":        {`{test/wants: "0"}`, 0, false},
		"session-forced": {`{test/wants: "2"}`, 2, true},
	} {
		t.Run(name, func(t *testing.T) {
			s.must(s.team(name, c.replicas))
			scaler := s.object(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {annotations: ` + c.annotations + `}, spec: {scaleTargetRef: {name: ` + name + `}}}`)
			scaler.SetName(name)
			scaler.SetNamespace(s.namespace)
			s.must(s.Create(s.ctx, scaler, client.FieldOwner("team")))
			s.awaits("its pods run", func() bool {
				d := s.deployment(name)
				return len(s.pods(name)) == int(c.replicas) && d.Status.ObservedGeneration == d.Generation
			})
			row := workload{kind: scaledObjectKind, other: [][]string{{"status"}}}
			before := normalOf(row, s.read(row, name))
			s.askFor(name, v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: s.deployment(name).UID, Container: "worker"}, nil)
			s.awaits("the session is ready", func() bool { return s.isReady(name) })
			if value := s.read(row, name).GetAnnotations()["autoscaling.keda.sh/paused"]; value != "true" && c.annotations[1:5] == "test" {
				t.Errorf("it is held and KEDA is not paused: %q", value)
			}
			// Messages wait in the queue.
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+wantsAnnotation+`":"2"}}}`))
			if name == "at-zero" {
				s.must(s.Patch(s.ctx, s.read(row, name), patch, client.FieldOwner("team")))
				before["metadata"].(map[string]any)["annotations"] = map[string]any{wantsAnnotation: "2"}
			}
			for range 20 {
				s.playKEDA(scaledObjectKind)
			}
			if n := *s.deployment(name).Spec.Replicas; n != 0 {
				t.Errorf("it is held and KEDA has set %d replicas", n)
			}
			session := s.session(name)
			if got := session.Status.Record.Replicas; got != c.replicas {
				t.Errorf("%d replicas are recorded, want %d", got, c.replicas)
			}
			s.must(s.Delete(s.ctx, session))
			if c.force {
				session.Finalizers = nil
				s.must(client.IgnoreNotFound(s.Patch(s.ctx, session, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))))
			}
			s.awaits("the session is gone", func() bool { return s.session(name) == nil })
			var diff string
			s.awaits("KEDA is what it was", func() bool {
				diff = cmp.Diff(before, normalOf(row, s.read(row, name)))
				return diff == ""
			})
			wants := 2
			s.awaits("its pods run again", func() bool { return len(s.pods(name)) == wants })
		})
	}
}

// KEDA is told of a workload that is held. It is paused then, its number is not taken
// for the team's, and it goes on after the end.
func TestAutoscalerMadeMeanwhile(t *testing.T) {
	s := newStage(t)
	s.start()
	const name = "worker"
	s.must(s.team(name, 3))
	s.awaits("its pods run", func() bool {
		d := s.deployment(name)
		return len(s.pods(name)) == 3 && d.Status.ObservedGeneration == d.Generation
	})
	s.askFor(name, v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: s.deployment(name).UID, Container: "worker"}, nil)
	s.awaits("the session is ready", func() bool { return s.isReady(name) })
	scaler := s.object(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {annotations: {test/wants: "2"}}, spec: {scaleTargetRef: {name: worker}}}`)
	scaler.SetName(name)
	scaler.SetNamespace(s.namespace)
	s.must(s.Create(s.ctx, scaler, client.FieldOwner("team")))
	row := workload{kind: scaledObjectKind, other: [][]string{{"status"}}}
	before := normalOf(row, s.read(row, name))
	s.awaits("it is paused", func() bool { return s.read(row, name).GetAnnotations()["autoscaling.keda.sh/paused"] == "true" })
	s.awaits("it is at zero again", func() bool { return *s.deployment(name).Spec.Replicas == 0 })
	if got := s.session(name).Status.Record.Replicas; got != 3 {
		t.Errorf("%d replicas are recorded, want the team's 3", got)
	}
	s.must(s.Delete(s.ctx, s.session(name)))
	s.awaits("the session is gone", func() bool { return s.session(name) == nil })
	if diff := cmp.Diff(before, normalOf(row, s.read(row, name))); diff != "" {
		t.Errorf("KEDA is not what it was (-before +after):\n%s", diff)
	}
	s.awaits("KEDA scales it again", func() bool { return len(s.pods(name)) == 2 })
}

// Who takes our claim off what scales a held workload leaves our pause on it: that is
// no wish of the team's, and is taken off at the end.
func TestScalerStrippedOfItsClaim(t *testing.T) {
	s := newStage(t)
	s.start()
	const name = "worker"
	s.must(s.team(name, 2))
	scaler := s.object(`{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, metadata: {annotations: {` + wantsAnnotation + `: "2"}}, spec: {scaleTargetRef: {name: worker}}}`)
	scaler.SetName(name)
	scaler.SetNamespace(s.namespace)
	s.must(s.Create(s.ctx, scaler, client.FieldOwner("team")))
	s.awaits("its pods run", func() bool {
		d := s.deployment(name)
		return len(s.pods(name)) == 2 && d.Status.ObservedGeneration == d.Generation
	})
	s.askFor(name, v1alpha1.Target{Group: "apps", Resource: "deployments", Name: name, UID: s.deployment(name).UID, Container: "worker"}, nil)
	s.awaits("the session is ready", func() bool { return s.isReady(name) })
	row := workload{kind: scaledObjectKind, other: [][]string{{"status"}}}
	strip := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+v1alpha1.ClaimAnnotation+`":null}}}`))
	s.must(s.Patch(s.ctx, s.read(row, name), strip, client.FieldOwner("kubectl-annotate")))
	// Whatever has the operator look again.
	label := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"x":"y"}}}`))
	s.must(s.Patch(s.ctx, s.deployment(name), label, client.FieldOwner("kubectl-label")))
	s.awaits("it is claimed again", func() bool { return s.read(row, name).GetAnnotations()[v1alpha1.ClaimAnnotation] != "" })
	if n := s.session(name).Status.Record.Autoscalers[0].Replicas; n != 1 {
		t.Errorf("what it was is noted as %d", n)
	}
	s.must(s.Delete(s.ctx, s.session(name)))
	s.awaits("the session is gone", func() bool { return s.session(name) == nil })
	if a := s.read(row, name).GetAnnotations(); a["autoscaling.keda.sh/paused"] != "" || a[v1alpha1.ClaimAnnotation] != "" {
		t.Errorf("KEDA is left paused: %v", a)
	}
}
