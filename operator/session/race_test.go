package session

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// Two sessions that want one workload at the same moment, each looked at by an
// operator of its own as when two overlap: one has it, the other is told so and
// has made nothing. A hundred times, because it is a matter of moments.
func TestOneOfTwoHasIt(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	upToClaim := setUp[:1+slices.IndexFunc(setUp, func(s step) bool { return s.name == "claim" })]
	attempt := func(r *Reconciler, key client.ObjectKey) error {
		session := &v1alpha1.Session{}
		if err := r.Live.Get(w.ctx, key, session); err != nil {
			return err
		}
		v := newVisit(r, session)
		err := v.walk(w.ctx, upToClaim)
		if end, over := err.(*finalError); over { //nolint:errorlint // walk hands it on as it is
			v.conclude(end)
		}
		return v.save(w.ctx)
	}
	for round := range 100 {
		names := []string{fmt.Sprintf("alice-%d", round), fmt.Sprintf("bob-%d", round)}
		var group sync.WaitGroup
		for _, name := range names {
			key := client.ObjectKeyFromObject(w.ask(name, "worker"))
			operator := w.operator(w.WithWatch)
			group.Go(func() {
				// Who meets a conflict looks again, as a reconciler does.
				for range 10 {
					_ = attempt(operator, key)
					session := &v1alpha1.Session{}
					if w.Get(w.ctx, key, session) != nil {
						continue
					}
					ready := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady)
					if meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionClaimed) || (ready != nil && finalReasons[ready.Reason]) {
						return
					}
				}
			})
		}
		group.Wait()
		var has []types.UID
		for _, name := range names {
			session := w.session(name)
			if meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionClaimed) {
				has = append(has, session.UID)
			} else if reason := w.conditionOf(name, v1alpha1.ConditionReady).Reason; reason != v1alpha1.ReasonHeldByAnother {
				t.Errorf("round %d: %s has it not, and its reason is %s", round, name, reason)
			}
		}
		d := w.deployment("worker")
		claim, err := hold.ParseClaim(d.Annotations[v1alpha1.ClaimAnnotation])
		if len(has) != 1 || err != nil || claim.Session != has[0] {
			t.Fatalf("round %d: %v have it, and the claim says %+v (%v)", round, has, claim, err)
		}
		w.must(hold.Holder{API: hold.API{Reader: w.WithWatch, Writer: w.WithWatch}}.Drop(w.ctx, d))
		for _, name := range names {
			session := w.session(name)
			session.Finalizers = nil
			w.must(w.Update(w.ctx, session))
			w.must(w.Delete(w.ctx, session))
		}
	}
}
