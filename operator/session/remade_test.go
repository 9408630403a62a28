package session

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/apitest"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// remakes has the API server make one number of every number that is written to a
// deployment.
func (w *world) remakes(replicas int) (undo func()) {
	w.t.Helper()
	return apitest.Mutate(w.t, w, w.namespace, appsv1.SchemeGroupVersion.WithResource("deployments"), fmt.Sprintf("Object{spec: Object.spec{replicas: object.spec.replicas == oldObject.spec.replicas ? object.spec.replicas : %d}}", replicas), func() bool {
		d := w.deployment("worker")
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":9}}`))
		w.must(w.Patch(w.ctx, d, patch, client.DryRunAll))
		return *d.Spec.Replicas == int32(replicas)
	})
}

// A policy of the cluster's makes another number of the one that is put back. The
// session does not say that it is back, but what is in the way, once; and when that is
// gone it comes back, also from an operator that was started anew meanwhile.
func TestRemadeNumberIsNotBack(t *testing.T) {
	for _, c := range []struct {
		made   int
		helm   bool // who owns the number has written it by an update
		forced bool // the Session is removed by force, and the sweep puts it back
	}{{0, false, false}, {0, true, false}, {2, false, false}, {2, true, false}, {0, false, true}, {2, true, true}} {
		t.Run(fmt.Sprintf("made %d, by an update %t, forced %t", c.made, c.helm, c.forced), func(t *testing.T) {
			w := newWorld(t)
			if c.helm {
				d := deployment(w.namespace, "worker")
				w.must(w.Create(w.ctx, d, client.FieldOwner("helm")))
				w.must(w.Patch(w.ctx, d, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":3}}`)), client.FieldOwner("helm")))
				w.until("its pods run", func() bool { w.play(); return w.running("worker") == 3 })
				w.ask("alice", "worker")
				w.drive(w.operator(w.WithWatch), "alice", "ready", func() bool { return w.isReady("alice") })
			} else {
				w.held(3)
			}
			undo := w.remakes(c.made)
			recorder := events.NewFakeRecorder(1000)
			start := func() *Reconciler {
				operator := w.operator(w.WithWatch)
				operator.Events = recorder
				return operator
			}
			operator := start()
			look := func() { _ = w.reconcile(operator, "alice") }
			w.must(w.Delete(w.ctx, w.session("alice")))
			if c.forced {
				session := w.session("alice")
				session.Finalizers = nil
				w.must(w.Update(w.ctx, session))
				look = func() {
					_, _ = (&Sweeper{Reconciler: operator, Kind: hold.Deployment{}}).Reconcile(w.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(w.deployment("worker"))})
				}
			}
			before := w.deployment("worker").Generation
			w.until("it is said", func() bool {
				w.play()
				look()
				if c.forced {
					return w.deployment("worker").Generation > before || len(recorder.Events) > 0
				}
				restored := w.conditionOf("alice", v1alpha1.ConditionRestored)
				return restored.Reason == v1alpha1.ReasonRefused || restored.Status == metav1.ConditionTrue || w.session("alice") == nil
			})
			for range 3 {
				operator = start()
				for range 3 {
					w.play()
					look()
				}
			}
			if !c.forced {
				restored := w.conditionOf("alice", v1alpha1.ConditionRestored)
				wrong := hold.Deployment{}.Describe(int32(c.made))
				if restored.Status == metav1.ConditionTrue || !strings.Contains(restored.Message, "3 replicas was written, and "+wrong+" came of it") {
					t.Errorf("Restored is %s, %s: %s", restored.Status, restored.Reason, restored.Message)
				}
			}
			for len(recorder.Events) > 0 {
				if event := <-recorder.Events; strings.Contains(event, "Put back: ") || strings.Contains(event, "Left as") {
					t.Errorf("it is said: %s", event)
				}
			}
			if n := *w.deployment("worker").Spec.Replicas; n != int32(c.made) {
				t.Fatalf("it is at %d: the policy does not act", n)
			}

			undo()
			w.until("the number is back", func() bool {
				w.play()
				look()
				return *w.deployment("worker").Spec.Replicas == 3 && (c.forced || w.session("alice") == nil)
			})
			w.until("nothing is left", func() bool { w.play(); look(); return len(w.leftovers("worker")) == 0 })
			owners := ownership.Owners(w.deployment("worker").ManagedFields, hold.Deployment{}.Field())
			if want := map[bool]string{false: "team", true: "helm"}[c.helm]; len(owners) != 1 || owners[0].Manager != want {
				t.Errorf("its number is owned by %+v, not %s", owners, want)
			}
		})
	}
}

// Where the zero itself becomes another number the session is not ready and says why,
// and what is recorded stays the team's number, which comes back.
func TestRemadeZeroIsNoHold(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	undo := w.remakes(2)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	look := func() { w.play(); _ = w.reconcile(operator, "alice") }
	w.until("it is said", func() bool {
		look()
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonRefused
	})
	for range 5 {
		look()
	}
	ready := w.conditionOf("alice", v1alpha1.ConditionReady)
	if ready.Status == metav1.ConditionTrue || !strings.Contains(ready.Message, "zero replicas was written, and 2 replicas came of it") {
		t.Errorf("Ready is %s, %s: %s", ready.Status, ready.Reason, ready.Message)
	}
	if r := w.session("alice").Status.Record; r.Replicas != 3 || r.ChangedBy != "" {
		t.Errorf("recorded is %+v", r)
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("it is said at the end", func() bool {
		look()
		return w.session("alice") == nil || w.conditionOf("alice", v1alpha1.ConditionRestored).Reason == v1alpha1.ReasonRefused
	})
	undo()
	w.until("the session is gone", func() bool { look(); return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want the 3 from before", n)
	}
}
