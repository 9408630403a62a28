package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// keep brings a workload to zero whose hold was begun, as often as somebody
// else scales it. The record of their number was saved by the record step.
func keep(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() || v.status().HeldAt == nil {
		return true, nil
	}
	if v.object == nil {
		v.set(v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonWorkloadGone, "The workload was deleted; one of the same name would be brought to zero.")
		return true, nil
	}
	rewritten := v.seen.Replicas != 0
	if err := v.zero(ctx); err != nil {
		return false, err
	}
	if err := v.keepApplications(ctx); err != nil {
		return false, err
	}
	if rewritten || v.is(v1alpha1.ConditionReady) || len(v.status().Record.Autoscalers) > 0 {
		// Somebody may have taken the pause off, or made an autoscaler since. One that
		// acts is found by the number that it writes, any other when a session that is
		// ready is looked at. That the pause takes effect is not waited for: the owner's
		// silence is still to be counted.
		_, err := v.stopAutoscalers(ctx)
		return true, err
	}
	return true, nil
}

// zero writes what the hold wants of the workload, and gives the field
// ownership back at once, not only at the end: who applies the workload during
// the session must meet no conflict either.
func (v *visit) zero(ctx context.Context) error {
	held := v.is(v1alpha1.ConditionHeld)
	marks := v.marks()
	if !ownership.Keeps(v.status().Record, v.seen) || len(marks) > 0 {
		if v.seen.Replicas != 0 {
			if err := v.refusal(); err != nil {
				return err
			}
		}
		// Else only the claim had to be brought up to date.
		again := held && (v.seen.Replicas != 0 || v.seen.Unset || v.seen.State != ownership.ClaimOurs)
		if again {
			if left := v.brakes.left(v.key(), time.Now()); left > 0 {
				v.again(left)
				return nil
			}
		}
		// An administrator's restore has put it back, and left the session: what is
		// brought to zero again is owed again.
		returned := v.status().Record.Returned
		v.status().Record.Returned = false
		if v.recordMarks(marks) || returned {
			if err := v.save(ctx); err != nil {
				return err
			}
		}
		object, by := v.object, ownership.Writer(v.seen.Owners)
		found, unset := v.seen.Replicas, v.seen.Unset
		if err := v.holder().Zero(ctx, v.kind, object, v.newClaim(), v.status().Record.ReplicaOwners, marks...); err != nil {
			return err
		}
		if len(marks) > 0 {
			v.eventOnBoth(corev1.EventTypeNormal, "FluxPaused", "Hold", "Marked not to be reconciled by Flux; the mark is taken off at the end.")
		}
		v.see(object)
		if again {
			v.brakes.done(v.key(), time.Now())
			v.Metrics.reasserted()
			rival := hold.RivalOf(object, by)
			what := rival.Name + " had set " + v.kind.Describe(found)
			switch {
			case unset:
				what = "somebody had left its number out, and " + v.kind.Describe(v.status().Record.Replicas) + " will be put back"
			case found == 0:
				what = "the claim had been taken off"
			}
			if found != 0 {
				v.contended(rival)
			}
			v.eventOnBoth(corev1.EventTypeWarning, "HoldReasserted", "Hold", "Brought to "+v.kind.Describe(0)+" again: "+what+".")
		}
	}
	if !held {
		v.set(v1alpha1.ConditionHeld, metav1.ConditionTrue, v1alpha1.ReasonDone, fmt.Sprintf("The workload is kept at %s; %s will be put back.", v.kind.Describe(0), v.kind.Describe(v.status().Record.Replicas)))
		v.set(v1alpha1.ConditionClaimed, metav1.ConditionTrue, v1alpha1.ReasonDone, "The workload bears this session's claim.")
		v.eventOnBoth(corev1.EventTypeNormal, "Held", "Hold", fmt.Sprintf("Brought to %s; %s will be put back.", v.kind.Describe(0), v.kind.Describe(v.status().Record.Replicas)))
		v.Metrics.held()
		// The gate that keeps others' pods from starting goes by this.
		if err := v.save(ctx); err != nil {
			return err
		}
	}
	return v.giveBack(ctx, true)
}

// contended says who else writes the number, and what keeps them from it. It is
// said once for each of them: a tool that heals by itself does it every minute.
func (v *visit) contended(rival hold.Rival) {
	message := "The number of the held workload was also written by " + rival.String() + "."
	if before := v.condition(v1alpha1.ConditionContended); before != nil && before.Message == message {
		return
	}
	v.set(v1alpha1.ConditionContended, metav1.ConditionTrue, v1alpha1.ReasonRewritten, message)
	v.eventOnBoth(corev1.EventTypeWarning, "HoldContended", "Hold", message)
}

// giveBack is done again and again until it is seen to be done: the workload's
// own controller writes its status at the same time.
func (v *visit) giveBack(ctx context.Context, keepClaim bool) error {
	var owners []v1alpha1.FieldOwner
	if v.seen.OwnNumber {
		owners = v.status().Record.ReplicaOwners
	} else if keepClaim {
		return nil
	}
	object := v.object
	changed, err := v.holder().GiveBack(ctx, v.kind, object, owners, keepClaim)
	if err != nil {
		return err
	}
	if changed {
		v.see(object)
	}
	return nil
}

// take begins the hold once the stand-in runs.
func take(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() || v.status().HeldAt != nil {
		return true, nil
	}
	if v.object == nil {
		return false, final(v1alpha1.ReasonTargetNotFound, "the target was deleted before it was held")
	}
	if err := v.refusal(); err != nil {
		return false, err
	}
	if rollout := v.kind.Inspect(v.object).Rollout; rollout != "" {
		v.waiting(v1alpha1.ReasonRolloutInProgress, "Waiting for the workload's rollout to end: "+rollout+".")
		return false, nil
	}
	if proceed, err := v.stopAutoscalers(ctx); err != nil || !proceed {
		return false, err
	}
	if err := v.pauseApplications(ctx); err != nil {
		return false, err
	}
	v.Pods.Ensure(v.key(), v.session.Namespace, v.kind.Inspect(v.object).Selector)
	pods, err := v.kind.Pods(ctx, v.Live, v.object)
	if err != nil {
		return false, err
	}
	// Beside those that are noted already, of a workload that was made anew.
	for i := range pods {
		noted := slices.ContainsFunc(v.status().OldPods, func(o v1alpha1.OldPod) bool { return o.UID == pods[i].UID })
		if !noted && !hold.Ended(&pods[i], v.session.Spec.Target.Container) {
			v.status().OldPods = append(v.status().OldPods, hold.Note(&pods[i]))
		}
	}
	v.recordMarks(v.marks())
	now := metav1.NewMicroTime(v.now())
	v.status().HeldAt = &now
	v.waiting(v1alpha1.ReasonOldPodsRunning, "Waiting for the workload's pods to end.")
	if err := v.save(ctx); err != nil {
		return false, err
	}
	return true, v.zero(ctx)
}
