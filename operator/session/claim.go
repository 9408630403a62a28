package session

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// claim writes the annotation, the second copy of the memory and the lock. Of
// two sessions that try at once one gets a conflict, looks again and sees the
// other's claim.
func claim(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() || v.object == nil || v.status().HeldAt != nil {
		return true, nil
	}
	if v.seen.State != ownership.ClaimOurs || v.seen.Claim.Replicas != v.status().Record.Replicas {
		object := v.object
		if err := v.holder().Claim(ctx, object, v.newClaim()); err != nil {
			return false, err
		}
		v.see(object)
	}
	v.set(v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "The workload bears this session's claim.")
	return true, nil
}

func (v *visit) newClaim() hold.Claim {
	return hold.NewClaim(v.object.GetUID(), v.session.UID, v.session.Name, v.session.Spec.Owner.Username, v.status().Record.Replicas, v.since())
}

// free sees to it that no other session has a hand on the workload.
func free(ctx context.Context, v *visit) (bool, error) {
	alive := false
	if v.seen.State == ownership.ClaimForeign {
		other, err := v.living(ctx, v.seen.Claim.Name, v.seen.Claim.Session)
		if err != nil {
			return false, err
		}
		alive = other != nil
	}
	switch ownership.DecideFree(v.seen, alive) {
	case ownership.HeldByAnother:
		return false, v.outrun(v.seen.Claim.Owner, v.seen.Claim.Since, v.seen.Claim.Name)
	case ownership.FreeUnknown:
		return false, final(v1alpha1.ReasonRecordUnreadable,
			"%s is at zero replicas and its annotation %s cannot be read (%v), so that nobody knows how many it should have: set the number by hand and take the annotation off", v.targetName(), v1alpha1.ClaimAnnotation, v.seen.Damage)
	case ownership.FreeAfterRestore:
		// What the dead session knew is put back first, so that there is one
		// way only in which a number is restored.
		if err := v.sweepOne(ctx, v.kind, v.object); err != nil {
			return false, err
		}
		v.again(0)
		return false, nil
	case ownership.FreeToTake:
	}
	// A claim can be stripped off by somebody's `kubectl replace`; the sessions
	// themselves are asked too.
	sessions, err := v.neighbours(ctx)
	if err != nil {
		return false, err
	}
	for i := range sessions {
		if other := &sessions[i]; other.Status.HeldAt != nil && other.Status.Record != nil && other.Status.Record.UID == v.seen.UID && !restored(other) {
			return false, v.outrun(other.Spec.Owner.Username, beganAt(other), other.Name)
		}
	}
	return true, nil
}

// outrun is the end of a session whose target another one has. One that waits is
// to look again: the other was faster.
func (v *visit) outrun(owner, since, name string) error {
	if v.session.Spec.Wait {
		v.again(0)
		return nil
	}
	return heldByAnother(v.targetName(), owner, since, name)
}

func heldByAnother(target, owner, since, name string) error {
	return final(v1alpha1.ReasonHeldByAnother, "%s is held by %s since %s (session %s)", target, owner, since, name)
}

// living reads a session and answers it only if it is the one of that UID and
// has not put its workload back.
func (r *Reconciler) livingIn(ctx context.Context, namespace, name string, uid types.UID) (*v1alpha1.Session, error) {
	other := &v1alpha1.Session{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, other)
	switch {
	case noSessions(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading session %s/%s: %w", namespace, name, err)
	case other.UID != uid, restored(other):
		return nil, nil
	}
	return other, nil
}

// noSessions says whether an error is that a session is not there, or no sessions
// at all, because their definition is gone.
func noSessions(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

func (v *visit) living(ctx context.Context, name string, uid types.UID) (*v1alpha1.Session, error) {
	return v.livingIn(ctx, v.session.Namespace, name, uid)
}

func restored(session *v1alpha1.Session) bool {
	return meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionRestored)
}
