package session

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// silent is alice's session, ready, of whose owner nothing was heard for as long as
// its lease is, and an operator whose requests are noted.
func (w *world) silent() (*Reconciler, *requests) {
	w.t.Helper()
	const duration = 30 * time.Second
	w.deploy("worker", 2)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = int32(duration / time.Second) })
	operator, requests := w.counted()
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.tick(operator, duration+2*time.Second)
	if silence := operator.Hearing.Silence(client.ObjectKeyFromObject(w.session("alice"))); silence < duration {
		w.t.Fatalf("silent for %s only", silence)
	}
	return operator, requests
}

// That its owner has gone is said before anything else is read than what tells it:
// of a thousand sessions at once those reads came before the first number.
func TestSilenceEndsBeforeOtherReads(t *testing.T) {
	w := newWorld(t)
	operator, requests := w.silent()
	made := requests.of(func() { w.must(w.reconcile(operator, "alice")) })
	said := false
	for _, request := range made {
		if said = strings.HasPrefix(request, "PUT ") && strings.HasSuffix(request, "/sessions/alice/status"); said {
			break
		}
		if !strings.HasSuffix(request, "/sessions/alice") && !strings.HasSuffix(request, "/leases/alice") {
			t.Errorf("before the end is said: %s", request)
		}
	}
	if !said {
		t.Errorf("it is not said: %q", made)
	}
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonLeaseExpired)
}

// A renewal that the watch has missed is found in the Lease itself before the session
// is ended for want of it.
func TestMissedRenewalIsFound(t *testing.T) {
	w := newWorld(t)
	operator, _ := w.silent()
	w.renew("alice")
	w.must(w.reconcile(operator, "alice"))
	if !w.isReady("alice") {
		t.Errorf("ended though it was renewed: %+v", w.conditionOf("alice", v1alpha1.ConditionReady))
	}
	if silence := operator.Hearing.Silence(client.ObjectKeyFromObject(w.session("alice"))); silence != 0 {
		t.Errorf("silent for %s just after a renewal", silence)
	}
	// From there on it is counted anew.
	w.tick(operator, 20*time.Second)
	w.must(w.reconcile(operator, "alice"))
	if !w.isReady("alice") {
		t.Errorf("ended before its lease was over: %+v", w.conditionOf("alice", v1alpha1.ConditionReady))
	}
}

// What a session waits in the queue is no part of the time that it was given.
func TestQueueIsNoPartOfTheDuration(t *testing.T) {
	w := newWorld(t)
	operator := w.held(2)
	w.ask("bob", "worker", waits, func(s *v1alpha1.SessionSpec) { s.MaxDurationSeconds = 600 })
	w.must(w.reconcile(operator, "bob"))
	if place := w.place("bob"); place != 1 {
		t.Fatalf("it has place %d", place)
	}
	w.clock = w.clock.Add(700 * time.Second)
	w.must(w.reconcile(w.operator(w.WithWatch), "bob"))
	if c := w.conditionOf("bob", v1alpha1.ConditionReady); c.Reason == v1alpha1.ReasonMaxDurationReached {
		t.Errorf("Ready is %s: %s", c.Reason, c.Message)
	}
}
