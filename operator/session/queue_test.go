package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

func waits(s *v1alpha1.SessionSpec) { s.Wait = true }

// inOrder sorts sessions as they are served: those of one second by their UIDs.
func (w *world) inOrder(names ...string) []string {
	slices.SortFunc(names, func(a, b string) int {
		if earlier(w.session(a), w.session(b)) {
			return -1
		}
		return 1
	})
	return names
}

func (w *world) look(r *Reconciler, names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.must(w.reconcile(r, name))
	}
}

func (w *world) place(name string) int32 {
	if q := w.session(name).Status.Queue; q != nil {
		return q.Place
	}
	return 0
}

// Those who wait come one after the other, nobody passes them, and nothing is
// made for them but what keeps their place.
func TestQueue(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	r := w.operator(w.WithWatch)
	w.ask("alice", "worker")
	w.drive(r, "alice", "alice is ready", func() bool { return w.isReady("alice") })

	w.ask("bob", "worker", waits)
	w.ask("carol", "worker", waits)
	line := w.inOrder("bob", "carol")
	w.look(r, line...)
	for i, name := range line {
		s := w.session(name)
		q := s.Status.Queue
		if q == nil || int(q.Place) != i+1 || q.Holder != "alice@example.com" || q.Session != "alice" || len(s.Finalizers) != 0 || s.Status.Record != nil {
			t.Errorf("%s: %+v, finalizers %v, record %v", name, q, s.Finalizers, s.Status.Record)
		}
		ready := w.conditionOf(name, v1alpha1.ConditionReady)
		if ready.Status != metav1.ConditionUnknown || ready.Reason != v1alpha1.ReasonQueued || !strings.Contains(ready.Message, "held by alice@example.com since") {
			t.Errorf("%s: %+v", name, ready)
		}
		key := client.ObjectKey{Namespace: w.namespace, Name: name}
		lease, role := &coordinationv1.Lease{}, &rbacv1.Role{}
		w.must(w.Get(w.ctx, key, lease))
		w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: grantName(name)}, role))
		// The collector takes them with the session.
		if !metav1.IsControlledBy(lease, s) || !metav1.IsControlledBy(role, s) || len(role.Rules) != 1 {
			t.Errorf("%s: lease of %v, role of %v: %v", name, lease.OwnerReferences, role.OwnerReferences, role.Rules)
		}
		if pods := w.podsOf(s); len(pods) > 0 {
			t.Errorf("%s has %d pods", name, len(pods))
		}
	}

	// Waiting is not held against them: no deadline counts.
	w.clock = w.clock.Add(10 * time.Minute)
	w.look(r, line...)
	if got := w.conditionOf(line[0], v1alpha1.ConditionReady); got.Reason != v1alpha1.ReasonQueued {
		t.Errorf("after ten minutes: %+v", got)
	}

	// Between two holders nobody passes those who wait.
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(r, "alice", "alice is gone", func() bool { return w.session("alice") == nil })
	w.ask("dave", "worker")
	w.look(r, "dave")
	if got := w.conditionOf("dave", v1alpha1.ConditionReady); got.Reason != v1alpha1.ReasonHeldByAnother || !strings.Contains(got.Message, "is waited for by "+line[0]+"@example.com") {
		t.Errorf("dave, who does not wait: %+v", got)
	}
	w.look(r, line[1])
	if got := w.session(line[1]).Status.Queue; got == nil || got.Place != 2 || got.Session != line[0] {
		t.Errorf("the second in between: %+v", got)
	}
	w.drive(r, line[0], "the first is ready", func() bool { return w.isReady(line[0]) })
	w.look(r, line[1])
	if got := w.session(line[1]).Status.Queue; got == nil || got.Place != 1 || got.Session != line[0] {
		t.Errorf("the second, when the first holds: %+v", got)
	}

	// Who leaves the queue leaves nothing: there is not even a finalizer to wait for.
	w.must(w.Delete(w.ctx, w.session(line[1])))
	if s := w.session(line[1]); s != nil {
		t.Errorf("still there: %+v", s.ObjectMeta)
	}
	w.must(w.Delete(w.ctx, w.session(line[0])))
	w.drive(r, line[0], "the first is gone", func() bool { return w.session(line[0]) == nil })
	w.until("the pods are back", func() bool { w.play(); return w.running("worker") == 2 })
	if left := w.leftovers("worker"); len(left) > 0 {
		t.Error(left)
	}
}

// A waiting session whose owner is not heard of drops out, and those behind it
// move up.
func TestQueueWithoutTheDead(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	r := w.operator(w.WithWatch)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 3600 })
	w.drive(r, "alice", "alice is ready", func() bool { return w.isReady("alice") })
	w.ask("bob", "worker", waits, func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 5 })
	w.ask("carol", "worker", waits, func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 5 })
	line := w.inOrder("bob", "carol")
	w.look(r, line...)
	if w.place(line[1]) != 2 {
		t.Fatalf("places %d and %d", w.place(line[0]), w.place(line[1]))
	}
	for range 6 {
		w.clock = w.clock.Add(time.Second)
		// The second's owner is there.
		lease := &coordinationv1.Lease{}
		w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: line[1]}, lease))
		now := metav1.NewMicroTime(w.clock)
		lease.Spec.RenewTime = &now
		w.must(w.Update(w.ctx, lease))
		w.look(r, line...)
	}
	if got := w.conditionOf(line[0], v1alpha1.ConditionReady); got.Reason != v1alpha1.ReasonLeaseExpired {
		t.Errorf("the dead one: %+v", got)
	}
	if w.place(line[1]) != 1 {
		t.Errorf("the one behind it is in place %d", w.place(line[1]))
	}
}

// The operator hands over by itself: nobody calls Reconcile here, and no session
// asks again.
func TestHandedOverByWatches(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.start()
	long := func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 3600 }
	w.ask("alice", "worker", long)
	w.eventually("alice is ready", func() bool { return w.isReady("alice") })
	for _, name := range []string{"bob", "carol", "dave"} {
		w.ask(name, "worker", long, waits)
	}
	line := w.inOrder("bob", "carol", "dave")
	w.eventually("they are in line", func() bool {
		return w.place(line[0]) == 1 && w.place(line[1]) == 2 && w.place(line[2]) == 3
	})
	w.must(w.Delete(w.ctx, w.session(line[1])))
	w.eventually("the third moves up", func() bool { return w.place(line[2]) == 2 })
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.eventually("the first has it", func() bool { return w.isReady(line[0]) })
	w.eventually("the other one knows", func() bool {
		q := w.session(line[2]).Status.Queue
		return q != nil && q.Place == 1 && q.Session == line[0]
	})
	w.must(w.Delete(w.ctx, w.session(line[0])))
	w.eventually("the last has it", func() bool { return w.isReady(line[2]) })
	if got := w.session(line[2]).Status.Record.Replicas; got != 2 {
		t.Errorf("%d replicas to put back, want 2", got)
	}
	w.must(w.Delete(w.ctx, w.session(line[2])))
	w.eventually("the pods are back", func() bool { return w.session(line[2]) == nil && w.running("worker") == 2 })
}

// Sessions that wait and one that does not, all at the same moment, each looked
// at by an operator of its own: never do two have it, and with the end of who has
// it the next one does.
func TestOneOfManyWaitingHasIt(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	upToClaim := setUp[:1+slices.IndexFunc(setUp, func(s step) bool { return s.name == "claim" })]
	for round := range 40 {
		names := []string{fmt.Sprintf("alice-%d", round), fmt.Sprintf("bob-%d", round), fmt.Sprintf("carol-%d", round)}
		for i, name := range names {
			if i == 2 && round%2 == 0 {
				w.ask(name, "worker")
				continue
			}
			w.ask(name, "worker", waits)
		}
		left := names
		for len(left) > 0 {
			has := w.raceFor(upToClaim, left)
			claim, err := hold.ParseClaim(w.deployment("worker").Annotations[v1alpha1.ClaimAnnotation])
			if len(has) != 1 || err != nil || claim.Name != has[0] {
				t.Fatalf("round %d: %v have it, and the claim says %+v (%v)", round, has, claim, err)
			}
			// It ends, and those that were told no are no more.
			w.must(hold.Holder{API: hold.API{Reader: w.WithWatch, Writer: w.WithWatch}}.Drop(w.ctx, w.deployment("worker")))
			var waiting []string
			for _, name := range left {
				s := w.session(name)
				if name != has[0] && alive(s) {
					waiting = append(waiting, name)
					continue
				}
				s.Finalizers = nil
				w.must(w.Update(w.ctx, s))
				w.must(w.Delete(w.ctx, s))
			}
			left = waiting
		}
	}
}

// raceFor has all of them looked at, at once, until each has the workload, waits
// or was told no, and answers who has it.
func (w *world) raceFor(steps []step, names []string) (has []string) {
	var group sync.WaitGroup
	for _, name := range names {
		operator := w.operator(w.WithWatch)
		key := client.ObjectKey{Namespace: w.namespace, Name: name}
		group.Go(func() {
			for range 10 {
				session := &v1alpha1.Session{}
				if operator.Live.Get(w.ctx, key, session) != nil {
					continue
				}
				v := newVisit(operator, session)
				err := v.walk(w.ctx, steps)
				if end, over := err.(*finalError); over { //nolint:errorlint // walk hands it on as it is
					v.conclude(end)
				}
				if v.save(w.ctx) == nil && err == nil && (meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionClaimed)) {
					return
				}
			}
		})
	}
	group.Wait()
	for _, name := range names {
		if meta.IsStatusConditionTrue(w.session(name).Status.Conditions, v1alpha1.ConditionClaimed) {
			has = append(has, name)
		}
	}
	return has
}

// The order of arrival, and who counts.
func TestLineUp(t *testing.T) {
	at := time.Now()
	session := func(uid string, second int, change ...func(*v1alpha1.Session)) v1alpha1.Session {
		s := v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Name: uid, UID: types.UID(uid), CreationTimestamp: metav1.NewTime(at.Add(time.Duration(second) * time.Second).Truncate(time.Second))}}
		s.Spec.Wait = true
		for _, c := range change {
			c(&s)
		}
		return s
	}
	with := func(kind string, status metav1.ConditionStatus, reason string) func(*v1alpha1.Session) {
		return func(s *v1alpha1.Session) {
			s.Status.Conditions = append(s.Status.Conditions, metav1.Condition{Type: kind, Status: status, Reason: reason})
		}
	}
	claimed := with(v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone)
	me := session("m", 10)
	holder, ahead := lineUp(&me, []v1alpha1.Session{
		session("z", 9), session("a", 10), session("x", 10), session("later", 11),
		session("ended", 1, with(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired)),
		session("restored", 1, claimed, with(v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonRestored)),
		session("leaving", 1, func(s *v1alpha1.Session) { now := metav1.Now(); s.DeletionTimestamp = &now }),
		session("impatient", 1, func(s *v1alpha1.Session) { s.Spec.Wait = false }),
		session("holder", 12, claimed),
	})
	var names []string
	for _, s := range ahead {
		names = append(names, s.Name)
	}
	if holder == nil || holder.Name != "holder" || !slices.Equal(names, []string{"z", "a"}) {
		t.Errorf("holder %v, ahead %v", holder, names)
	}
}
