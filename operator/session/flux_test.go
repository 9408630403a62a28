package session

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// What Flux's controllers put on the objects that are theirs.
var (
	ofKustomization = map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}
	ofRelease       = map[string]string{"helm.toolkit.fluxcd.io/name": "worker", "helm.toolkit.fluxcd.io/namespace": "shop"}
)

// playFlux makes one move of a controller of Flux: what is in Git is applied over
// the object, whoever owns its fields, unless the object says in the cluster, by a
// label or an annotation, that it is to be left alone.
func (w *world) playFlux(manager, key string, replicas int32) {
	w.t.Helper()
	live := &appsv1.Deployment{}
	w.must(client.IgnoreNotFound(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "worker"}, live)))
	if strings.EqualFold(live.Labels[key], "disabled") || strings.EqualFold(live.Annotations[key], "disabled") {
		return
	}
	d := deployment(w.namespace, "worker")
	d.Labels, d.Spec.Replicas = w.labels, ptr.To(replicas)
	w.must(w.apply(d, manager, client.ForceOwnership))
}

var tools = map[string]struct {
	manager, key string
	labels       map[string]string
}{
	"kustomize-controller": {"kustomize-controller", "kustomize.toolkit.fluxcd.io/reconcile", ofKustomization},
	"helm-controller":      {"helm-controller", "helm.toolkit.fluxcd.io/driftDetection", ofRelease},
}

// Flux reconciles all the time and leaves alone what is held, without a number of
// its being brought to zero a single time. Afterwards it heals again, at once, and
// the workload is what it was.
func TestFluxLeavesAlone(t *testing.T) {
	for name, tool := range tools {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.labels = tool.labels
			flux := func() { w.playFlux(tool.manager, tool.key, 3) }
			flux()
			w.until("its pods run", func() bool {
				w.play()
				return w.running("worker") == 3 && w.deployment("worker").Status.ObservedGeneration == w.deployment("worker").Generation
			})
			before := w.deployment("worker")
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			w.drive(operator, "alice", "ready", func() bool {
				flux()
				return w.isReady("alice")
			})
			if got := w.session("alice").Status.Record.Marks; len(got) != 1 || got[0] != tool.key {
				t.Errorf("recorded marks: %q", got)
			}
			generation := w.deployment("worker").Generation
			for range 5 {
				flux()
				w.play()
				w.must(w.reconcile(operator, "alice"))
			}
			if now := w.deployment("worker"); now.Generation != generation || *now.Spec.Replicas != 0 {
				t.Errorf("it was written to: generation %d, then %d, %d replicas", generation, now.Generation, *now.Spec.Replicas)
			}
			if c := w.conditionOf("alice", v1alpha1.ConditionContended); c.Status == metav1.ConditionTrue {
				t.Errorf("contended: %s", c.Message)
			}
			w.end(operator, "alice")
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
			w.until("its controller has seen it", func() bool {
				w.play()
				return w.running("worker") == 3 && w.deployment("worker").Status.ObservedGeneration == w.deployment("worker").Generation
			})
			w.checkSame(before, w.deployment("worker"))
			w.scale("worker", 5, "kubectl")
			flux()
			if n := *w.deployment("worker").Spec.Replicas; n != 3 {
				t.Errorf("Flux does not heal any more: %d replicas", n)
			}
		})
	}
}

// Where the operator may not mark anything, Flux's number is brought to zero each
// time, starts nothing, and is named with what to set.
func TestFluxContends(t *testing.T) {
	for name, tool := range tools {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.gate, w.labels = true, tool.labels
			w.deploy("worker", 3)
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			operator.Flux = false
			w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
			for range 3 {
				w.playFlux(tool.manager, tool.key, 4)
				w.drive(operator, "alice", "it is at zero again", func() bool { return *w.deployment("worker").Spec.Replicas == 0 })
			}
			if n := w.running("worker"); n != 0 {
				t.Errorf("%d pods run", n)
			}
			c := w.conditionOf("alice", v1alpha1.ConditionContended)
			if c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "Flux") || !strings.Contains(c.Message, "gitops.flux") {
				t.Errorf("Contended is %s: %s", c.Status, c.Message)
			}
			w.end(operator, "alice")
			if n := *w.deployment("worker").Spec.Replicas; n != 4 {
				t.Errorf("%d replicas, want the 4 of Git", n)
			}
		})
	}
}

// A mark does not outlive the hold, whatever happened to it, to the claim beside
// it and to the session; and what somebody made of it is left to him.
func TestMarkComesOff(t *testing.T) {
	m := v1alpha1.Marks[0]
	edit := func(w *world, change func(labels, annotations map[string]string)) {
		d := w.deployment("worker")
		change(d.Labels, d.Annotations)
		w.must(w.Update(w.ctx, d, client.FieldOwner("kubectl-edit")))
	}
	strip := func(labels, annotations map[string]string) {
		delete(labels, m.Ours)
		delete(annotations, v1alpha1.ClaimAnnotation)
	}
	for name, c := range map[string]struct {
		meanwhile func(*world)
		// force removes the session without its operator.
		force bool
		// want is what the label says in the end.
		want string
	}{
		"quiet":                       {meanwhile: func(*world) {}},
		"the session is forced off":   {meanwhile: func(*world) {}, force: true},
		"ours and claim are stripped": {meanwhile: func(w *world) { edit(w, strip) }},
		"the claim is stripped, and the session forced off": {force: true, meanwhile: func(w *world) {
			edit(w, func(_, annotations map[string]string) { delete(annotations, v1alpha1.ClaimAnnotation) })
		}},
		"somebody scales": {meanwhile: func(w *world) { w.scale("worker", 3, "kubectl") }},
		"somebody turns it on": {want: "enabled", meanwhile: func(w *world) {
			edit(w, func(labels, _ map[string]string) { labels[m.Key] = "enabled" })
		}},
		"somebody says the same": {want: "disabled", meanwhile: func(w *world) {
			edit(w, strip)
			apply := fmt.Sprintf(`{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker", "labels": {%q: "disabled"}}}`, m.Key)
			w.must(w.Patch(w.ctx, w.deployment("worker"), client.RawPatch(types.ApplyPatchType, []byte(apply)), client.FieldOwner("somebody")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.gate, w.labels = true, maps.Clone(ofKustomization)
			operator := w.held(3)
			if d := w.deployment("worker"); d.Labels[m.Key] != "disabled" || d.Labels[m.Ours] == "" {
				t.Fatalf("not marked: %v", d.Labels)
			}
			c.meanwhile(w)
			if c.force {
				s := w.session("alice")
				s.Finalizers = nil
				w.must(w.Update(w.ctx, s))
				w.must(client.IgnoreNotFound(w.Delete(w.ctx, s)))
				w.must(w.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.SessionLabel}))
				w.until("it is swept", func() bool {
					w.play()
					w.must((&Sweeper{Reconciler: operator, Kind: hold.Deployment{}}).sweepOneFor(w, w.deployment("worker")))
					return len(w.leftovers("worker")) == 0
				})
			} else {
				w.end(operator, "alice")
			}
			d := w.deployment("worker")
			if d.Labels[m.Key] != c.want || d.Labels[m.Ours] != "" {
				t.Errorf("labels in the end: %v, want %q", d.Labels, c.want)
			}
			if d.Labels["kustomize.toolkit.fluxcd.io/name"] != "apps" {
				t.Errorf("the team's labels are gone: %v", d.Labels)
			}
		})
	}
}
