package session

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	w.must((&Sweeper{Reconciler: operator, Kind: hold.Deployment{}}).sweepOneFor(w, w.deployment("copy")))
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
