package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// A workload is deleted and made anew after its number was put back, and before the
// visit that notes so: what is known of the old one is nothing that the new one has
// had. It is left as it was made, and the session says that the other is gone. Only one
// that is made from what was read while it was held is at the session's zero, and is put
// back, though the number of the one before it was. The operator may be another by then.
func TestMadeAnewBeforeTheNumberIsNoted(t *testing.T) {
	const (
		job    = `{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, spec: {jobTargetRef: {template: ` + podTemplate + `}}}`
		paused = `{apiVersion: keda.sh/v1alpha1, kind: ScaledJob, metadata: {annotations: {autoscaling.keda.sh/paused: "true"}}, spec: {jobTargetRef: {template: ` + podTemplate + `}}}`
	)
	// of is a deployment of so many replicas.
	of := func(replicas int32) func(*stage) client.Object {
		return func(s *stage) client.Object {
			d := deployment(s.namespace, "worker")
			d.Spec.Replicas = ptr.To(replicas)
			return d
		}
	}
	for name, c := range map[string]struct {
		kind   hold.Workload
		before func(*stage) client.Object
		// anew is what is made; nil is from what was read while it was held.
		anew func(*stage) client.Object
		want int32
	}{
		"at the team's zero":         {hold.Deployment{}, of(3), of(0), 0},
		"with another number":        {hold.Deployment{}, of(3), of(5), 5},
		"from what was held":         {hold.Deployment{}, of(3), nil, 3},
		"a ScaledJob, paused":        {hold.ScaledJob{}, func(s *stage) client.Object { return s.named(job, "worker") }, func(s *stage) client.Object { return s.named(paused, "worker") }, 0},
		"a ScaledJob, not paused":    {hold.ScaledJob{}, func(s *stage) client.Object { return s.named(job, "worker") }, func(s *stage) client.Object { return s.named(job, "worker") }, 1},
		"a ScaledJob, from the held": {hold.ScaledJob{}, func(s *stage) client.Object { return s.named(job, "worker") }, nil, 1},
	} {
		for _, killed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the operator killed %t", name, killed), func(t *testing.T) {
				w := newWorld(t)
				s := w.withKinds()
				key := client.ObjectKey{Namespace: w.namespace, Name: "worker"}
				was := c.before(s)
				s.until("the API server serves its kind", func() bool { return client.IgnoreAlreadyExists(s.Create(s.ctx, was, client.FieldOwner("team"))) == nil })
				play := func() { s.play(); s.playKEDA(scaledJobKind) }
				operator := w.operator(w.WithWatch)
				read := func() (client.Object, hold.State) {
					object, err := operator.holder().Read(w.ctx, c.kind, key)
					w.must(err)
					return object, c.kind.Inspect(object)
				}
				look := func() { play(); w.must(w.reconcile(operator, "alice")) }
				s.until("its controller has seen it", func() bool { play(); _, state := read(); return state.Rollout == "" })
				s.askFor("alice", v1alpha1.Target{Group: c.kind.Resource().Group, Resource: c.kind.Resource().Resource, Name: "worker", UID: was.GetUID(), Container: "worker"}, func(spec *v1alpha1.SessionSpec) { spec.LeaseDurationSeconds = 30 })
				s.until("the session is ready", func() bool { look(); return s.isReady("alice") })
				held, _ := read()

				w.tick(operator, 31*time.Second)
				s.until("the number is back", func() bool { look(); _, state := read(); return state.Replicas != 0 })
				if w.session("alice").Status.Record.Returned {
					t.Fatal("that it is back is noted already")
				}
				w.must(w.Delete(w.ctx, was))
				s.until("it is gone", func() bool { return apierrors.IsNotFound(w.Get(w.ctx, key, was)) })
				anew := held
				if c.anew != nil {
					anew = c.anew(s)
				}
				anew.SetResourceVersion("")
				anew.SetUID("")
				anew.SetManagedFields(nil)
				w.must(w.Create(w.ctx, anew, client.FieldOwner("kubectl-replace")))
				made := anew.GetGeneration()
				if killed {
					operator = w.operator(w.WithWatch)
				}
				s.until("the session is over", func() bool { look(); return w.over("alice")() })
				for range 3 {
					look()
				}

				w.ended("alice", v1alpha1.ReasonLeaseExpired)
				now, state := read()
				if now.GetUID() != anew.GetUID() || state.Replicas != c.want {
					t.Errorf("it is at %s, want %s", c.kind.Describe(state.Replicas), c.kind.Describe(c.want))
				}
				if _, claimed := now.GetAnnotations()[v1alpha1.ClaimAnnotation]; claimed || ownership.OwnsAnything(now.GetManagedFields()) {
					t.Errorf("something of ours is left on it: %v, %v", now.GetAnnotations(), now.GetManagedFields())
				}
				restored := w.conditionOf("alice", v1alpha1.ConditionRestored)
				if c.anew == nil {
					if restored.Reason != v1alpha1.ReasonRestored || !strings.Contains(restored.Message, "back at "+c.kind.Describe(c.want)) {
						t.Errorf("Restored is %s: %s", restored.Reason, restored.Message)
					}
					return
				}
				if restored.Reason != v1alpha1.ReasonWorkloadGone || now.GetGeneration() != made {
					t.Errorf("Restored is %s: %s; generation %d, made with %d", restored.Reason, restored.Message, now.GetGeneration(), made)
				}
			})
		}
	}
}

// A session that is made anew under the name of one whose number is back, before that
// one was seen to be gone, has a number of its own to put back.
func TestSessionOfTheSameName(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the number is back", func() bool { return *w.deployment("worker").Spec.Replicas == 3 })
	if s := w.session("alice"); s != nil {
		w.must(w.Patch(w.ctx, s, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))))
	}
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.SessionLabel}))
	for i := range pods.Items { // the garbage collector
		w.must(client.IgnoreNotFound(w.Delete(w.ctx, &pods.Items[i], client.GracePeriodSeconds(0))))
	}
	w.ask("alice", "worker")
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.stripped(func(*appsv1.Deployment) {})
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
}
