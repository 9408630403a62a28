package session

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func TestBrake(t *testing.T) {
	var b brakes
	key, other := types.NamespacedName{Name: "alice"}, types.NamespacedName{Name: "bob"}
	now := time.Now()
	left := func(key types.NamespacedName, now time.Time, want time.Duration) {
		t.Helper()
		if got := b.left(key, now); got != want {
			t.Errorf("%s is left, not %s", got, want)
		}
	}
	left(key, now, 0)
	b.done(key, now)
	for _, pause := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
		pause *= time.Millisecond
		left(key, now, pause)
		left(key, now.Add(pause/4), pause-pause/4)
		left(other, now, 0)
		now = now.Add(pause)
		left(key, now, 0)
		b.done(key, now)
	}
	now = now.Add(brakeRest)
	left(key, now, 0)
	b.done(key, now)
	left(key, now, brakeFirst)
	b.forget(key)
	left(key, now, 0)
}

// Another controller answers each of our writes at once. Ours does not: some
// writes in five seconds, not hundreds, and the first at once.
func TestContendedHoldIsBraked(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	w.deploy("worker", 3)
	w.start()
	w.ask("alice", "worker")
	w.eventually("ready", func() bool { return w.isReady("alice") })
	written, began := 0, time.Now()
	for deadline := began.Add(5 * time.Second); time.Now().Before(deadline); {
		if *w.deployment("worker").Spec.Replicas == 0 {
			if written == 1 {
				t.Logf("the first stood for %s", time.Since(began))
			}
			w.scale("worker", 3, "other-controller")
			written++
		}
	}
	t.Logf("written %d times", written)
	if written < 3 || written > 12 {
		t.Errorf("the other controller had to write %d times in 5 s", written)
	}
	w.eventually("it is at zero in the end", func() bool { return *w.deployment("worker").Spec.Replicas == 0 })
	if n := w.running("worker"); n != 0 || !w.isReady("alice") {
		t.Errorf("%d pods run, and Ready is %+v", n, w.conditionOf("alice", v1alpha1.ConditionReady))
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.eventually("it is back", func() bool { return w.session("alice") == nil && w.running("worker") == 3 })
}
