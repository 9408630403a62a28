package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

const (
	// settleEvery is how often the workload's own controller is looked at in the
	// beginning, and settleMost how rarely later.
	settleEvery = 100 * time.Millisecond
	settleMost  = 2 * time.Second
	// settleSaid is how long it is waited for before that is said; mostly it has
	// come to it by then, and that is one write less.
	settleSaid = 2 * time.Second
	// settleFor is how long it is waited for. The number is back by then; a
	// controller that does not run must not keep a session from ending.
	settleFor = 30 * time.Second
	// keptAtZeroFor is how long where the controller runs and is kept from acting, as by a
	// gate that has not heard yet of the end. Then the session ends, which others wait
	// for, and the sweep goes on to look: once nobody does, it would stay so.
	keptAtZeroFor = 90 * time.Second
	// lookAtKinds is how often it is looked whether a kind can be held again.
	lookAtKinds = time.Minute
	// conflictTries bounds how often one write is tried anew because the
	// workload's controller wrote at the same time.
	conflictTries = 10
)

// restore puts the workload back. What the API server refuses is tried again for
// as long as it takes, unless the namespace is being deleted: then the workload goes
// with it, and the finalizer must not be what keeps the two.
func restore(ctx context.Context, v *visit) (bool, error) {
	if v.is(v1alpha1.ConditionRestored) {
		return true, nil
	}
	proceed, err := putAllBack(ctx, v)
	if !isRefusal(err) && v.condition(v1alpha1.ConditionRestored).Reason != v1alpha1.ReasonTargetUnsupported {
		return proceed, err
	}
	if going, unknown := v.namespaceGoes(ctx); unknown != nil || !going {
		return proceed, err
	}
	v.leaveApplications(ctx)
	const message = "The namespace is being deleted, and the workload with it."
	for _, c := range []string{v1alpha1.ConditionHeld, v1alpha1.ConditionClaimed} {
		v.set(c, metav1.ConditionFalse, v1alpha1.ReasonWorkloadGone, message)
	}
	v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonWorkloadGone, message)
	return true, v.save(ctx)
}

// namespaceGoes asks whether the session's namespace is being deleted, which the API
// server says to whoever would make something there; nothing is made.
func (v *visit) namespaceGoes(ctx context.Context) (bool, error) {
	err := v.Writer.Create(ctx, v.newLease(), client.DryRunAll, client.FieldOwner(hold.FieldManager))
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return true, nil
	case err == nil, apierrors.IsAlreadyExists(err):
		return false, nil
	}
	return false, fmt.Errorf("asking whether the namespace is being deleted: %w", err)
}

// putAllBack undoes the hold: no longer held, the number and the claim, the field
// ownership, and the traces that its controller copied.
func putAllBack(ctx context.Context, v *visit) (bool, error) {
	record := v.status().Record
	if record == nil || !v.scalesDown() {
		message := "Nothing was done to the target."
		if v.targetless() {
			message = "There was no target."
		}
		v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonNotNeeded, message)
		return true, nil
	}
	var kindless *finalError
	switch err := v.look(ctx); {
	case errors.As(err, &kindless) && kindless.absent:
		// With the kind went its objects.
		v.object, v.seen = nil, ownership.Observed{}
	case errors.As(err, &kindless):
		v.outOfReach(kindless.message)
		return false, nil
	case apierrors.IsForbidden(err):
		return false, fmt.Errorf("%w; the chart's values give the right (workloads); if it is to stay so, an administrator puts the workload back: %s", err, v.byHand())
	case err != nil:
		return false, err
	}
	if v.object != nil && v.seen.UID != record.UID && v.seen.CopiedZero() {
		// Made anew since the session looked last, from what it was at.
		old := record
		record, _ = ownership.Remember(old, v.seen, v.progress())
		v.status().Record = record
		v.noteChange(old, record)
	}
	if v.object == nil || v.seen.UID != record.UID {
		v.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonWorkloadGone, "The workload was deleted.")
		v.set(v1alpha1.ConditionClaimed, metav1.ConditionFalse, v1alpha1.ReasonWorkloadGone, "The workload was deleted.")
		return true, v.restored(ctx, v1alpha1.ReasonWorkloadGone, "The workload was deleted; there is nothing to put back.")
	}
	if v.condition(v1alpha1.ConditionHeld).Reason != v1alpha1.ReasonRestoring {
		v.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, v1alpha1.ReasonRestoring, "The workload is being put back.")
		v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonRestoring, "The workload is being put back.")
		// Before the number: the gate keeps pods from starting while Held.
		if err := v.save(ctx); err != nil {
			return false, err
		}
	}
	if v.returns.returned(v.key(), v.session.UID, record.UID) {
		// By the visit before, which had no write to spare where there are many.
		v.status().Record.Returned = true
	}
	if err := v.patiently(ctx, v.putBack); err != nil {
		return false, err
	}
	if v.object == nil {
		v.again(0)
		return false, nil
	}
	if v.returned {
		// What is left to do waits for the numbers of others.
		v.again(0)
		v.later = true
		return false, nil
	}
	waiting, err := v.kind.Settle(ctx, v.holder().API, v.object)
	if err != nil {
		return false, err
	}
	most := settleFor
	if waiting.Kept {
		most = keptAtZeroFor
	}
	// Where it let others' numbers come first, that time is none of its own.
	from := v.condition(v1alpha1.ConditionHeld).LastTransitionTime.Time
	if looked := v.returns.looks(v.key(), v.session.UID, v.now()); looked.After(from) {
		from = looked
	}
	if since := v.now().Sub(from); waiting.For != "" && since < most {
		if since >= settleSaid {
			v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonRestoring, "The number is back; waiting for "+waiting.For+".")
		}
		// The workload's status, and with it this session, is woken by its controller;
		// where that has much to do it has no need of being asked all the time. The
		// numbers of others come first.
		v.again(min(max(settleEvery, since/4), settleMost))
		v.later = true
		return false, nil
	}
	v.set(v1alpha1.ConditionClaimed, metav1.ConditionFalse, v1alpha1.ReasonRestored, "The claim was taken off.")
	reason, message := v1alpha1.ReasonRestored, "The workload is back at "+v.kind.Describe(v.seen.Replicas)+"."
	if waiting.For != "" {
		reason = v1alpha1.ReasonNotFollowed
		message += " It was not seen to act on that: still waiting for " + waiting.For + "."
	}
	return true, v.restored(ctx, reason, message)
}

// outOfReach says of a workload that was held that this operator does not know how
// to put it back, as one that an upgrade of the chart has taken the kind from. The
// session is kept, and with it what the workload was.
func (v *visit) outOfReach(why string) {
	message := fmt.Sprintf("The workload is not put back as long as this is so: %s. If it is to stay so, an administrator puts it back: %s.", why, v.byHand())
	if !v.says(v1alpha1.ConditionRestored, message) {
		v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonTargetUnsupported, message)
		v.event(corev1.EventTypeWarning, v1alpha1.ReasonTargetUnsupported, "Restore", message)
	}
	v.again(lookAtKinds)
}

// byHand is what an administrator types where the operator cannot.
func (v *visit) byHand() string { return "understudy restore -n " + v.session.Namespace + " --force" }

// toSet is what to do about a right that was taken away, as by an upgrade of the
// chart; nothing where it is not that.
func (v *visit) toSet(err error, value string) string {
	if !apierrors.IsForbidden(err) {
		return ""
	}
	return fmt.Sprintf(" (the chart's value %s gives the right; if it is to stay so, an administrator does it: %s)", value, v.byHand())
}

// all is of several errors one that is a sentence, and that is what the first is.
func all(errs ...error) error {
	var one error
	for _, err := range errs {
		switch {
		case one == nil:
			one = err
		case err != nil:
			one = fmt.Errorf("%w; %w", one, err)
		}
	}
	return one
}

// putBack makes at most one write to the workload's number and one to its
// field ownership, by what was just read.
func (v *visit) putBack(ctx context.Context) error {
	object := v.object
	var err error
	switch ownership.DecideReturn(v.status().Record, v.seen, v.status().HeldAt != nil) {
	case ownership.ReturnNumber:
		began := v.now()
		if err = v.holder().Return(ctx, v.kind, object, v.status().Record.Replicas, v.status().Record.ReplicaOwners, v.status().Record.Marks...); err == nil {
			v.Metrics.restored(v.now().Sub(began))
			v.eventOnBoth(corev1.EventTypeNormal, "Restored", "Restore", "Put back: "+v.kind.Describe(v.status().Record.Replicas)+".")
			v.returned = true
		}
	case ownership.ReturnClaim:
		if err = v.holder().Drop(ctx, object, v.status().Record.Marks...); err == nil && v.status().HeldAt != nil {
			v.eventOnBoth(corev1.EventTypeNormal, "Released", "Restore", "Left as somebody else has set it: "+v.kind.Describe(v.seen.Replicas)+".")
		}
	case ownership.ReturnNothing:
	}
	if err != nil {
		return err
	}
	// From now on what the number is is theirs. It is saved with this visit, or the next.
	v.returns.paid(v.key(), v.session.UID, object.GetUID(), time.Now())
	v.status().Record.Returned = !v.returned
	v.see(object)
	return v.giveBack(ctx, false)
}

// patiently tries again at once, on a fresh read, when somebody else wrote to
// the workload in between: its controller does, just after the number is back.
func (v *visit) patiently(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	for try := 1; try < conflictTries && apierrors.IsConflict(err); try++ {
		if err := v.look(ctx); err != nil {
			return err
		}
		if v.object == nil || v.seen.UID != v.status().Record.UID {
			v.object = nil
			return nil
		}
		err = do(ctx)
	}
	if apierrors.IsNotFound(err) {
		v.object = nil
		return nil
	}
	return err
}

func (v *visit) restored(ctx context.Context, reason, message string) error {
	// The one does not wait for the other, which may be refused for good.
	if err := all(v.startAutoscalers(ctx), v.resumeApplications(ctx)); err != nil {
		what := "the number is back"
		if reason == v1alpha1.ReasonWorkloadGone {
			what = "the workload was deleted"
		}
		err = fmt.Errorf("%s, and what was stopped for it is not: %w", what, err)
		if !isRefusal(err) && !apierrors.IsConflict(err) {
			v.set(v1alpha1.ConditionRestored, metav1.ConditionFalse, v1alpha1.ReasonRestoring, "Tried again: "+err.Error()+".")
		}
		return err
	}
	v.set(v1alpha1.ConditionRestored, metav1.ConditionTrue, reason, message)
	if v.is(v1alpha1.ConditionHeld) || v.condition(v1alpha1.ConditionHeld).Reason == v1alpha1.ReasonRestoring {
		v.set(v1alpha1.ConditionHeld, metav1.ConditionFalse, reason, message)
	}
	v.status().OldPods = nil
	v.Pods.Stop(v.key())
	return v.save(ctx)
}
