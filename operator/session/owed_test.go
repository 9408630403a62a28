package session

import (
	"context"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// stripped is the deployment written back without the claim, at the zero that it was
// read at, by who does not know what held it; change is what else was in the file.
func (w *world) stripped(change func(*appsv1.Deployment)) {
	w.t.Helper()
	d := w.deployment("worker")
	delete(d.Annotations, v1alpha1.ClaimAnnotation)
	change(d)
	w.must(w.Update(w.ctx, d, client.FieldOwner("kubectl-replace")))
}

// Whoever takes the claim off while the number is being put back, by an operator that
// is killed or that is refused the write, takes no number with it.
func TestNumberIsOwedUntilItIsBack(t *testing.T) {
	image := func(tag string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) {
			d.Spec.Template.Spec.Containers[0].Image = "registry.example/worker:" + tag
		}
	}
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "worker", errors.New("a house rule"))
	for name, c := range map[string]struct {
		// stopped is what the operator's write of the number meets.
		stopped error
		changes []func(*appsv1.Deployment)
	}{
		"the claim alone, the operator killed": {errLost, []func(*appsv1.Deployment){func(*appsv1.Deployment) {}}},
		"another image, the operator killed":   {errLost, []func(*appsv1.Deployment){image("2")}},
		"three of them, the operator killed":   {errLost, []func(*appsv1.Deployment){image("2"), image("3"), image("4")}},
		"two other images, the write refused":  {forbidden, []func(*appsv1.Deployment){image("2"), image("3")}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			operator := w.held(3)
			met := false
			operator.Writer = interceptor.NewClient(w.WithWatch, interceptor.Funcs{
				Patch: func(ctx context.Context, next client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
					if _, ok := object.(*appsv1.Deployment); ok {
						met = true
						return c.stopped
					}
					return next.Patch(ctx, object, patch, options...)
				},
			})
			w.must(w.Delete(w.ctx, w.session("alice")))
			w.until("it is about to be put back", func() bool {
				w.play()
				_ = w.reconcile(operator, "alice")
				return met
			})
			for _, change := range c.changes {
				w.stripped(change)
			}
			w.drive(w.operator(w.WithWatch), "alice", "the session is gone", func() bool { return w.session("alice") == nil })
			if n := *w.deployment("worker").Spec.Replicas; n != 3 {
				t.Errorf("%d replicas, want the 3 from before", n)
			}
		})
	}
}

// An administrator's restore has put the number back, and had to leave the Session. An
// operator that is there again holds the workload again, and from then on the number is
// owed as before.
func TestNumberIsOwedAgain(t *testing.T) {
	w := newWorld(t)
	w.held(3)
	operator := w.operator(w.WithWatch)
	session := w.session("alice")
	session.Status.Record.Returned = true
	meta.SetStatusCondition(&session.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionHeld, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRestoring})
	w.must(w.Status().Update(w.ctx, session))
	d := w.deployment("worker")
	w.must(operator.holder().Return(w.ctx, hold.Deployment{}, d, 3, session.Status.Record.ReplicaOwners))
	_, err := operator.holder().GiveBack(w.ctx, hold.Deployment{}, d, session.Status.Record.ReplicaOwners, false)
	w.must(err)
	w.drive(operator, "alice", "it is held again", func() bool {
		return *w.deployment("worker").Spec.Replicas == 0 && w.conditionOf("alice", v1alpha1.ConditionHeld).Status == metav1.ConditionTrue
	})
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.stripped(func(*appsv1.Deployment) {})
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want the 3 from before", n)
	}
}
