package session

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// Somebody exports the workload while it is held, with its claim and at zero, and
// applies it elsewhere under another name. The copy is not ours: it gets no number
// of another workload, and loses the annotation only. The one that is held stays so.
func TestExportedDuringASession(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })

	exported := deployment(w.namespace, "copy")
	exported.Annotations = map[string]string{v1alpha1.ClaimAnnotation: w.deployment("worker").Annotations[v1alpha1.ClaimAnnotation]}
	exported.Spec.Replicas = ptr.To(int32(0))
	w.must(w.Create(w.ctx, exported))
	said := events.NewFakeRecorder(10)
	told := w.operator(w.WithWatch)
	told.Events = said
	w.must((&Sweeper{Reconciler: told, Kind: hold.Deployment{}}).sweepOneFor(w, w.deployment("copy")))
	want := fmt.Sprintf("the other had 3 replicas. For this one to have that too: kubectl -n %s scale deployments.apps/copy --replicas=3", w.namespace)
	if event := <-said.Events; !strings.Contains(event, want) {
		t.Errorf("it says %q, want %q", event, want)
	}
	if d := w.deployment("copy"); *d.Spec.Replicas != 0 || d.Annotations[v1alpha1.ClaimAnnotation] != "" {
		t.Errorf("the copy is at %d, with the annotations %v", *d.Spec.Replicas, d.Annotations)
	}
	if d := w.deployment("worker"); *d.Spec.Replicas != 0 || !w.isReady("alice") {
		t.Errorf("the held workload is at %d", *d.Spec.Replicas)
	}

	// A session on the copy does not take it for held by another.
	w.scale("copy", 2, "kubectl")
	w.until("its pods run", func() bool {
		w.play()
		return w.running("copy") == 2 && w.deployment("copy").Status.ObservedGeneration == w.deployment("copy").Generation
	})
	w.ask("bob", "copy")
	w.drive(operator, "bob", "ready", func() bool { return w.isReady("bob") })
	w.end(operator, "bob")
	if n := *w.deployment("copy").Spec.Replicas; n != 2 {
		t.Errorf("the copy comes back at %d, not 2", n)
	}
	w.end(operator, "alice")
	w.checkSame(before, w.deployment("worker"))
}

// `kubectl rollout undo` during a session writes an old template and the old
// ReplicaSet's annotations. The hold goes on, and what comes back is the team's new
// template with the number that it had.
func TestRolloutUndoDuringASession(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	operator := w.held(3)

	// What `rollout undo` does: the template, and all annotations, of an old
	// ReplicaSet; one that was held in an earlier session bears that one's claim.
	d := w.deployment("worker")
	old := hold.NewClaim(d.UID, "an-earlier-session", "carol", "carol", 9, w.clock)
	d.Spec.Template.Spec.Containers[0].Image = "registry.example/worker:0"
	d.Annotations = map[string]string{v1alpha1.ClaimAnnotation: old.String()}
	w.must(w.Update(w.ctx, d, client.FieldOwner("kubectl-rollout")))
	w.drive(operator, "alice", "it bears this session's claim again", func() bool {
		claim, err := hold.ParseClaim(w.deployment("worker").Annotations[v1alpha1.ClaimAnnotation])
		return err == nil && claim.Session == w.session("alice").UID
	})
	w.end(operator, "alice")
	d = w.deployment("worker")
	if *d.Spec.Replicas != 3 || d.Spec.Template.Spec.Containers[0].Image != "registry.example/worker:0" {
		t.Errorf("it comes back at %d with %s", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
	}
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// `kubectl replace` with the team's own file takes the claim off and writes the
// file's number, all in one update. No pod runs, and the file's number comes back.
func TestReplacedDuringASession(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	operator := w.held(3)
	file := deployment(w.namespace, "worker")
	file.Spec.Replicas = ptr.To(int32(4))
	file.ResourceVersion = w.deployment("worker").ResourceVersion
	w.must(w.Update(w.ctx, file, client.FieldOwner("kubectl-replace")))
	w.drive(operator, "alice", "it is held again", func() bool {
		d := w.deployment("worker")
		return *d.Spec.Replicas == 0 && d.Annotations[v1alpha1.ClaimAnnotation] != "" && w.isReady("alice")
	})
	if n := w.running("worker"); n != 0 {
		t.Errorf("%d pods run", n)
	}
	w.end(operator, "alice")
	if n := *w.deployment("worker").Spec.Replicas; n != 4 {
		t.Errorf("%d replicas, want the file's 4", n)
	}
}

// replaceByForce is `kubectl replace --force` with a file that was read of it.
func (w *world) replaceByForce(name string, exported *appsv1.Deployment) {
	w.t.Helper()
	w.must(w.Delete(w.ctx, w.deployment(name), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	again := deployment(w.namespace, name)
	again.Spec, again.Annotations, again.Labels = exported.Spec, exported.Annotations, exported.Labels
	w.must(w.Create(w.ctx, again, client.FieldOwner("kubectl-replace")))
}

// Somebody reads the workload while it is held, and replaces it by force with that:
// an object of another UID, at zero, with the session's claim on the old one. The
// hold goes on, the sweep leaves it to the session, and the number comes back.
func TestReplacedByForceDuringASession(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	exported := w.deployment("worker")
	for range 2 {
		w.replaceByForce("worker", exported)
		w.must((&Sweeper{Reconciler: operator, Kind: hold.Deployment{}}).sweepOneFor(w, w.deployment("worker")))
		w.drive(operator, "alice", "the new one is held", func() bool {
			claim, err := hold.ParseClaim(w.deployment("worker").Annotations[v1alpha1.ClaimAnnotation])
			return err == nil && claim.Workload == w.deployment("worker").UID && w.isReady("alice")
		})
		if r := w.session("alice").Status.Record; r.Replicas != 3 || r.UID != w.deployment("worker").UID {
			t.Errorf("recorded %+v", r)
		}
	}
	// And at the last moment, when the session does not look any more.
	w.replaceByForce("worker", exported)
	w.end(operator, "alice")
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("it comes back at %d, not 3", n)
	}
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// The namespace is deleted, with everything in it, while a session holds: its
// finalizer does not keep the namespace, although nothing may be created any more.
func TestNamespaceDeletedDuringASession(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	namespace := &corev1.Namespace{}
	namespace.Name = w.namespace
	w.must(w.Delete(w.ctx, namespace))

	// Nothing can be made any more, as when the namespace's controller has begun.
	// It deletes in any order: first all workloads and pods, then the Session.
	for _, kind := range []client.Object{&appsv1.Deployment{}, &appsv1.ReplicaSet{}} {
		w.must(w.DeleteAllOf(w.ctx, kind, client.InNamespace(w.namespace)))
	}
	w.must(w.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.GracePeriodSeconds(0)))
	w.must(w.DeleteAllOf(w.ctx, &v1alpha1.Session{}, client.InNamespace(w.namespace)))
	w.until("the session is gone", func() bool {
		w.playKubelet()
		_ = w.reconcile(operator, "alice")
		return w.session("alice") == nil
	})
}

// The same, after the right to what was stopped for the session was taken away: it
// goes with the namespace, and nobody waits for the right to come back.
func TestNamespaceDeletedWithoutTheRight(t *testing.T) {
	w := newWorld(t)
	s := w.withKinds()
	w.deploy("worker", 2)
	s.scaled("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool {
		s.playKEDA(scaledObjectKind)
		return w.isReady("alice")
	})
	w.forbid(operator, "keda.sh")
	w.endRefused(operator)
	if d := w.deployment("worker"); *d.Spec.Replicas != 2 {
		t.Errorf("%d replicas, want 2", *d.Spec.Replicas)
	}
	w.goesWithNamespace(operator)
}

// Two operators at once, as for a moment in an upgrade without a leader, work on
// the same session in turns and at the same time: the workload comes back once, as
// it was.
func TestTwoOperatorsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	one, two := w.operator(w.WithWatch), w.operator(w.WithWatch)
	both := func(what string, holds func() bool) {
		t.Helper()
		w.until(what, func() bool {
			w.play()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = w.reconcile(two, "alice") // a conflict, mostly
			}()
			_ = w.reconcile(one, "alice")
			<-done
			if w.session("alice") != nil {
				w.checkPromises("worker", "alice")
			}
			return holds()
		})
	}
	both("ready", func() bool { return w.isReady("alice") })
	w.must(w.Delete(w.ctx, w.session("alice")))
	both("gone", func() bool { return w.session("alice") == nil })
	w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 3 })
	w.checkSame(before, w.deployment("worker"))
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// `helm upgrade` of the team's own chart during a session, as Helm 4 does it, by
// server-side apply, and as Helm 3 does it, by a patch of what differs from the
// chart: the number does too. What comes back is the new release.
func TestHelmUpgradeDuringASession(t *testing.T) {
	for name, upgrade := range map[string]func(*world, *appsv1.Deployment) error{
		"server-side": func(w *world, d *appsv1.Deployment) error {
			data, err := json.Marshal(d)
			w.must(err)
			return w.Patch(w.ctx, d, client.RawPatch(types.ApplyPatchType, data), client.FieldOwner("helm"), client.ForceOwnership)
		},
		"client-side": func(w *world, d *appsv1.Deployment) error {
			patch := `{"spec":{"replicas":4,"template":{"spec":{"containers":[{"name":"worker","image":"registry.example/worker:2"}]}}}}`
			return w.Patch(w.ctx, d, client.RawPatch(types.StrategicMergePatchType, []byte(patch)), client.FieldOwner("helm"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.gate = true
			operator := w.held(3)
			release := deployment(w.namespace, "worker")
			release.Spec.Replicas = ptr.To(int32(4))
			release.Spec.Template.Spec.Containers[0].Image = "registry.example/worker:2"
			w.must(upgrade(w, release))
			w.drive(operator, "alice", "it is held again", func() bool { return *w.deployment("worker").Spec.Replicas == 0 && w.isReady("alice") })
			if n := w.running("worker"); n != 0 {
				t.Errorf("%d pods run", n)
			}
			w.end(operator, "alice")
			d := w.deployment("worker")
			if *d.Spec.Replicas != 4 || d.Spec.Template.Spec.Containers[0].Image != "registry.example/worker:2" {
				t.Errorf("it comes back at %d with %s", *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
			}
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// A session, its end, a rollout, `rollout undo` to the ReplicaSet that was held,
// another number by a person, zero too, and an operator that starts: the number is
// the person's.
func TestHealthyIsNeverScaled(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	w.end(operator, "alice")
	w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 3 })
	for _, number := range []int32{5, 0} {
		w.scale("worker", number, "kubectl")
		// Undo brings back all annotations of the ReplicaSet.
		sets := &appsv1.ReplicaSetList{}
		w.must(w.List(w.ctx, sets, client.InNamespace(w.namespace)))
		d := w.deployment("worker")
		d.Spec.Template.Spec.Containers[0].Image = "registry.example/worker:0"
		for key, value := range sets.Items[0].Annotations {
			metav1.SetMetaDataAnnotation(&d.ObjectMeta, key, value)
		}
		w.must(w.Update(w.ctx, d, client.FieldOwner("kubectl-rollout")))
		w.until("the pods follow", func() bool { w.play(); return w.running("worker") == int(number) })

		next := w.operator(w.WithWatch)
		w.must((&Sweep{Reconciler: next}).Sweep(w.ctx))
		w.must((&Sweeper{Reconciler: next, Kind: hold.Deployment{}}).sweepOneFor(w, w.deployment("worker")))
		if n := *w.deployment("worker").Spec.Replicas; n != number {
			t.Errorf("the person's %d has become %d", number, n)
		}
		if left := w.leftovers("worker"); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
	}
}

// The team renames the workload during a session: the old one goes, one of another
// name comes. That one is not touched, and the session ends.
func TestRenamedDuringASession(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	w.must(w.Delete(w.ctx, w.deployment("worker"), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.deploy("renamed", 4)
	renamed := w.deployment("renamed")
	w.drive(operator, "alice", "the workload is known to be gone", func() bool {
		return w.conditionOf("alice", v1alpha1.ConditionHeld).Reason == v1alpha1.ReasonWorkloadGone
	})
	w.end(operator, "alice")
	w.checkSame(renamed, w.deployment("renamed"))
}

// While no operator runs, somebody takes the finalizer off and deletes the Session.
// The next operator finds the claim when it starts, and puts the workload back.
func TestFinalizerRemovedWhileNoOperatorRuns(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 3600 })
	last := w.operator(w.WithWatch)
	w.drive(last, "alice", "ready", func() bool { return w.isReady("alice") })
	session := w.session("alice")
	w.must(w.Delete(w.ctx, session))
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	w.must(client.IgnoreNotFound(w.Patch(w.ctx, session, patch)))
	if d := w.deployment("worker"); w.session("alice") != nil || *d.Spec.Replicas != 0 {
		t.Fatalf("it is at %d, and the session is %v", *d.Spec.Replicas, w.session("alice"))
	}
	w.start()
	w.eventually("the pods are back", func() bool { return w.running("worker") == 3 })
	w.eventually("nothing is left", func() bool { return len(w.leftovers("worker")) == 0 })
	w.eventually("it is what it was", func() bool { return cmp.Diff(normal(t, before), normal(t, w.deployment("worker"))) == "" })
}

// Two operators of different versions work in turns and at once, as in an upgrade
// without a leader. The older one writes no marks of who is to have the number
// back, and is killed by the upgrade at any moment.
func TestOperatorsOfTwoVersions(t *testing.T) {
	for kills := 1; kills <= 12; kills++ {
		t.Run(fmt.Sprintf("the older one goes at its write %d", kills), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.gate = true
			w.deploy("worker", 3)
			before := w.deployment("worker")
			w.ask("alice", "worker")
			cut := &cutter{at: kills}
			older := w.operator(cut.over(interceptor.NewClient(w.WithWatch, interceptor.Funcs{
				Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
					return c.Patch(ctx, object, withoutMarks(w, object, patch), opts...)
				},
			})))
			newer := w.operator(w.WithWatch)
			turn := 0
			step := func() {
				w.play()
				if turn++; turn%2 == 0 && !cut.dead {
					_ = w.reconcile(older, "alice")
				} else {
					_ = w.reconcile(newer, "alice")
				}
				if w.session("alice") != nil {
					w.checkPromises("worker", "alice")
				}
			}
			w.until("ready", func() bool { step(); return w.isReady("alice") })
			w.must(w.Delete(w.ctx, w.session("alice")))
			w.until("gone", func() bool { step(); return w.session("alice") == nil })
			w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 3 })
			w.checkSame(before, w.deployment("worker"))
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// withoutMarks is a patch of a number as operators wrote it that left no marks:
// those give the ownership back in a patch of its own.
func withoutMarks(w *world, object client.Object, patch client.Patch) client.Patch {
	data, err := patch.Data(object)
	w.must(err)
	body := map[string]any{}
	if patch.Type() != types.MergePatchType || json.Unmarshal(data, &body) != nil || body["spec"] == nil {
		return patch
	}
	if metadata, ok := body["metadata"].(map[string]any); ok {
		delete(metadata, "managedFields")
	}
	data, err = json.Marshal(body)
	w.must(err)
	return client.RawPatch(types.MergePatchType, data)
}
