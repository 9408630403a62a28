package session

import (
	"context"
	"time"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// limits ends a session whose time is over: the longest that was asked for, or
// the time in which it should have become Ready. What it waits in the queue does
// not count. The silence of its owner is the lease step's, and is looked at here
// where it is known to be too long: what comes between the two costs reads that an
// end has no use for.
func limits(ctx context.Context, v *visit) (bool, error) {
	if v.status().HeldAt != nil && v.Hearing.Silence(v.key()) >= v.leaseDuration() {
		if proceed, err := lease(ctx, v); err != nil || !proceed {
			return proceed, err
		}
	}
	if most := v.session.Spec.MaxDurationSeconds; most > 0 && v.status().Queue == nil {
		left := v.since().Add(time.Duration(most) * time.Second).Sub(v.now())
		if left <= 0 {
			return false, final(v1alpha1.ReasonMaxDurationReached, "the session has lasted the %d seconds that it was given", most)
		}
		v.again(left)
	}
	if v.is(v1alpha1.ConditionReady) || v.status().Queue != nil {
		return true, nil
	}
	from, allowed := v.setupTime()
	left := from.Add(allowed).Sub(v.now())
	if left <= 0 {
		ready := v.condition(v1alpha1.ConditionReady)
		return false, final(v1alpha1.ReasonSetupDeadlineExceeded, "not ready after %s: %s: %s", allowed, ready.Reason, ready.Message)
	}
	v.again(left)
	return true, nil
}

// since is when the session began: asked for, or the next in the queue.
func (v *visit) since() time.Time {
	if turn := v.status().TurnAt; turn != nil {
		return turn.Time
	}
	return v.session.CreationTimestamp.Time
}

// setupTime says when the present attempt to become Ready began, by the
// reconciler's clock, and how long it may take: from the first sight; from
// the hold on, counted from there with the old pods' longest grace period; or
// since Ready was lost.
func (v *visit) setupTime() (from time.Time, allowed time.Duration) {
	allowed = v1alpha1.DefaultSetupDuration
	if s := v.session.Spec.SetupDeadlineSeconds; s > 0 {
		allowed = time.Duration(s) * time.Second
	}
	grace := time.Duration(0)
	for _, pod := range v.status().OldPods {
		grace = max(grace, time.Duration(pod.GraceSeconds)*time.Second)
	}
	from = v.condition(v1alpha1.ConditionReady).LastTransitionTime.Time
	if turn := v.status().TurnAt; turn != nil && turn.After(from) {
		from = turn.Time
	}
	if v.status().ReadyAt == nil && v.status().HeldAt != nil {
		from = v.status().HeldAt.Time
	}
	return from, allowed + grace
}

// expired is the final error of an owner who was not heard of.
func expired(duration time.Duration) error {
	return final(v1alpha1.ReasonLeaseExpired, "the owner's machine was not heard of for %s", duration)
}
