package session

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// nudge is what the workload's ReplicaSet bears so that its controller tries again.
func (w *world) nudge(of string) string {
	w.t.Helper()
	set := &appsv1.ReplicaSet{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: of + "-1"}, set))
	return set.Annotations[v1alpha1.NudgeAnnotation]
}

// The number is back, and the gate goes on for a minute to keep the ReplicaSet at
// zero, as an API server's does whose watch of Sessions is broken: its controller is
// made to try again until there are pods.
func TestGateThatHearsLate(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.late = true
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the number is back and the set is not", func() bool {
		return *w.deployment("worker").Spec.Replicas == 3 && w.nudge("worker") != ""
	})
	for last := ""; w.clock.Sub(w.conditionOf("alice", v1alpha1.ConditionHeld).LastTransitionTime.Time) < keptAtZeroFor-10*time.Second; {
		w.tick(operator, 5*time.Second)
		w.play()
		w.must(w.reconcile(operator, "alice"))
		now := w.nudge("worker")
		if now == last {
			t.Fatalf("its controller is not made to try again: %q", now)
		}
		last = now
		if c := w.conditionOf("alice", v1alpha1.ConditionRestored); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "0 of 3") {
			t.Errorf("Restored is %s: %s", c.Status, c.Message)
		}
	}
	w.late = false
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	w.until("its pods run", func() bool { w.play(); return w.running("worker") == 3 })
	w.checkSame(before, w.deployment("worker"))
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// Something keeps the ReplicaSet at zero for longer: the session ends all the same, and
// says what it saw, and the sweep goes on.
func TestKeptAtZeroForGood(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.MaxDurationSeconds = 60 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.late = true
	w.tick(operator, 61*time.Second)
	w.drive(operator, "alice", "the number is back and the set is not", func() bool {
		return *w.deployment("worker").Spec.Replicas == 3 && w.nudge("worker") != ""
	})
	operator.KeepFinal = time.Hour // to be read below
	w.tick(operator, keptAtZeroFor)
	w.drive(operator, "alice", "it has said what it saw", func() bool {
		c := w.conditionOf("alice", v1alpha1.ConditionRestored)
		return c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonNotFollowed && strings.Contains(c.Message, "not seen to act on that: still waiting for the replica sets to be scaled: 0 of 3")
	})
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.checkSweepGoesOn(operator)
}

// The same for a workload whose Session is gone: the sweep goes on with it, though the
// workload itself bears nothing any more.
func TestSweepOfOneKeptAtZero(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.claim("worker", before.UID, 3)
	w.zero("worker")
	w.late = true
	sweeper := &Sweeper{Reconciler: w.operator(w.WithWatch), Kind: hold.Deployment{}}
	sweep := func() error { return sweeper.sweepOneFor(w, w.deployment("worker")) }
	w.until("it is kept at zero", func() bool {
		w.play()
		err := sweep()
		return err == nil && w.nudge("worker") != ""
	})
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Fatalf("%d replicas, want 3", n)
	}
	w.checkSweepGoesOn(sweeper.Reconciler)
}

// checkSweepGoesOn has a sweep look at a workload that is kept at zero, and then let go.
func (w *world) checkSweepGoesOn(operator *Reconciler) {
	w.t.Helper()
	sweeper := &Sweeper{Reconciler: operator, Kind: hold.Deployment{}}
	sweep := func() (again time.Duration) {
		result, err := sweeper.Reconcile(w.ctx, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: w.namespace, Name: "worker"}})
		w.must(err)
		return result.RequeueAfter
	}
	before := w.nudge("worker")
	again := sweep()
	if now := w.nudge("worker"); now == "" || now == before || again != keptAgain {
		w.t.Errorf("its controller is not made to try again: %q, then %q, and again after %s", before, now, again)
	}
	// An operator that begins anew, and that has only what the ReplicaSet bears.
	before = w.nudge("worker")
	w.must((&Sweep{Reconciler: operator}).Sweep(w.ctx))
	if now := w.nudge("worker"); now == "" || now == before {
		w.t.Errorf("a sweep of all does not make its controller try again: %q, then %q", before, now)
	}
	w.late = false
	w.until("its pods run", func() bool { w.play(); return w.running("worker") == 3 })
	sweep()
	if left := w.leftovers("worker"); len(left) > 0 {
		w.t.Errorf("left over: %q", left)
	}
	if again := sweep(); again != 0 {
		w.t.Errorf("what has its pods is looked at again, after %s", again)
	}
}
