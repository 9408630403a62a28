package session

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// record writes down what to put back, and has it acknowledged before any
// later step writes to the workload. Somebody's new number goes through here
// too before it is brought to zero again.
func record(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() {
		for _, c := range []string{v1alpha1.ConditionRecorded, v1alpha1.ConditionClaimed, v1alpha1.ConditionHeld} {
			v.set(c, metav1.ConditionFalse, v1alpha1.ReasonNotNeeded, "The target is left as it is.")
		}
		return true, nil
	}
	if v.object == nil {
		return true, nil
	}
	if v.status().HeldAt == nil || v.status().Record == nil || v.status().Record.UID != v.seen.UID {
		if proceed, err := free(ctx, v); !proceed || err != nil {
			return proceed, err
		}
		if v.seen.Replicas != 0 || v.seen.Unset {
			// Made anew as something that must not be held, or whose number nobody knows.
			if err := v.refusal(); err != nil {
				return false, err
			}
		}
	}
	old := v.status().Record
	remembered, changed := ownership.Remember(old, v.seen, v.progress())
	if changed {
		v.status().Record = remembered
		if old == nil && v.seen.Replicas == 0 && (v.seen.State == ownership.ClaimOurs || v.seen.CopiedOurs) {
			// The status was lost after the hold: it was begun.
			now := metav1.NewMicroTime(v.now())
			v.status().HeldAt = &now
		}
		v.noteChange(old, remembered)
	}
	v.set(v1alpha1.ConditionRecorded, metav1.ConditionTrue, v1alpha1.ReasonDone, "To be put back: "+v.kind.Describe(v.status().Record.Replicas)+".")
	return true, v.save(ctx)
}

// progress is how far the object of the record was brought.
func (v *visit) progress() ownership.Progress {
	switch {
	case v.is(v1alpha1.ConditionHeld):
		return ownership.Held
	case v.status().HeldAt != nil:
		return ownership.Begun
	}
	return ownership.NotBegun
}

func (v *visit) noteChange(old, now *v1alpha1.Record) {
	switch {
	case old == nil:
	case old.UID != now.UID && v.seen.CopiedZero():
		// By our hand, if not on this object: the hold goes on.
		begun := metav1.NewMicroTime(v.now())
		v.status().HeldAt = &begun
		v.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonPending, "The workload was deleted and made anew.")
		v.eventOnBoth(corev1.EventTypeNormal, "WorkloadRecreated", "Hold", fmt.Sprintf("%s was made anew from what was read of it while it was held, at %s; %s will be put back.", v.targetName(), v.kind.Describe(0), v.kind.Describe(now.Replicas)))
	case old.UID != now.UID:
		// A new object of the same name: whatever was held is gone with the old.
		v.status().HeldAt = nil
		v.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonPending, "The workload was deleted and made anew.")
		v.eventOnBoth(corev1.EventTypeNormal, "WorkloadRecreated", "Hold", fmt.Sprintf("%s was made anew with %s and is brought to %s again.", v.targetName(), v.kind.Describe(now.Replicas), v.kind.Describe(0)))
	case v.seen.Unset:
		// Nobody's number. That it is brought to zero again is said then.
	case v.seen.Replicas == 0 && now.Replicas != 0:
		// Ours, which those who have applied it own too.
		for _, owner := range ownership.Joined(old, v.seen) {
			v.eventOnBoth(corev1.EventTypeNormal, "ZeroApplied", "Record", fmt.Sprintf("%s has applied %s, which is what the session holds it at; %s will be put back. For %s to stay, set it again after the session.",
				hold.RivalOf(v.object, owner.Manager).Name, v.kind.Describe(0), v.kind.Describe(now.Replicas), v.kind.Describe(0)))
		}
	case now.ChangedBy != "":
		v.eventOnBoth(corev1.EventTypeNormal, "ReplicasRecorded", "Record", fmt.Sprintf("%s asked for %s; that will be put back at the end.", now.ChangedBy, v.kind.Describe(now.Replicas)))
	}
}
