package session

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// stopAutoscalers pauses what sets the target's number, and waits until it says
// that it is paused: only a number that nothing else changes any more is
// recorded and brought to zero.
//
// Each is in the Session's record, acknowledged, before it is paused, and bears a
// claim of its own with the pause, in one patch. A kill in between leaves one
// that is recorded and was never paused, which is seen from its claim.
func (v *visit) stopAutoscalers(ctx context.Context) (bool, error) {
	found, err := v.autoscalers(ctx, v.kind.Kind(), v.session.Spec.Target.Name)
	if err != nil {
		return false, err
	}
	if changed, err := v.recordAutoscalers(found); changed || err != nil {
		if err == nil {
			err = v.save(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	for i := range found {
		if proceed, err := v.pause(ctx, found[i]); !proceed || err != nil {
			return false, err
		}
	}
	return true, nil
}

// autoscaler is one that was read.
type autoscaler struct {
	kind   hold.Autoscaler
	object client.Object
}

// autoscalers lists those that set a workload's number. None where there is no
// such kind, or where the operator was installed without the rights.
func (v *visit) autoscalers(ctx context.Context, of schema.GroupVersionKind, name string) ([]autoscaler, error) {
	var found []autoscaler
	for _, kind := range v.kinds() {
		scaler, ok := kind.(hold.Autoscaler)
		if !ok {
			continue
		}
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.Kind().GroupVersion().WithKind(kind.Kind().Kind + "List"))
		err := v.Live.List(ctx, list, client.InNamespace(v.session.Namespace))
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking for autoscalers: %w", err)
		}
		for i := range list.Items {
			if scaler.Scales(&list.Items[i], of, name) {
				found = append(found, autoscaler{scaler, &list.Items[i]})
			}
		}
	}
	return found, nil
}

// recordAutoscalers notes what each was before it is paused.
func (v *visit) recordAutoscalers(found []autoscaler) (changed bool, err error) {
	record := v.status().Record
	for _, a := range found {
		i := slices.IndexFunc(record.Autoscalers, func(r v1alpha1.Autoscaler) bool { return r.UID == a.object.GetUID() })
		if i >= 0 {
			// What somebody else has made of it since is what comes back.
			seen := hold.Observe(a.kind, a.object, v.session.UID)
			was := &v1alpha1.Record{UID: record.Autoscalers[i].UID, Replicas: record.Autoscalers[i].Replicas, ReplicaOwners: record.Autoscalers[i].Owners}
			progress := ownership.NotBegun
			// Once the workload is held each was paused, whoever has taken our claim off.
			if seen.State == ownership.ClaimOurs || seen.CopiedOurs || v.status().HeldAt != nil {
				progress = ownership.Held
			}
			now, different := ownership.Remember(was, seen, progress)
			if different {
				record.Autoscalers[i].Replicas, record.Autoscalers[i].Owners = now.Replicas, now.ReplicaOwners
				changed = true
			}
			continue
		}
		seen := hold.Observe(a.kind, a.object, v.session.UID)
		first, _ := ownership.Remember(nil, seen, ownership.NotBegun)
		record.Autoscalers = append(record.Autoscalers, v1alpha1.Autoscaler{
			Group: a.kind.Resource().Group, Resource: a.kind.Resource().Resource, Name: a.object.GetName(), UID: a.object.GetUID(),
			Replicas: first.Replicas, Owners: first.ReplicaOwners,
		})
		changed = true
	}
	return changed, nil
}

// pause pauses one that is recorded.
func (v *visit) pause(ctx context.Context, a autoscaler) (bool, error) {
	name := a.kind.Kind().Kind + " " + a.object.GetName()
	i := slices.IndexFunc(v.status().Record.Autoscalers, func(r v1alpha1.Autoscaler) bool { return r.UID == a.object.GetUID() })
	was := v.status().Record.Autoscalers[i]
	record := &v1alpha1.Record{UID: was.UID, Replicas: was.Replicas, ReplicaOwners: was.Owners}
	seen := hold.Observe(a.kind, a.object, v.session.UID)
	if seen.State == ownership.ClaimForeign {
		other, err := v.living(ctx, seen.Claim.Name, seen.Claim.Session)
		if err != nil {
			return false, err
		}
		if other != nil {
			return false, heldByAnother(name, seen.Claim.Owner, seen.Claim.Since, seen.Claim.Name)
		}
		// What the dead session knew is put back first.
		if err := v.sweepOne(ctx, a.kind, a.object); err != nil {
			return false, err
		}
		v.again(0)
		return false, nil
	}
	if !ownership.Keeps(record, seen) {
		claim := hold.NewClaim(a.object.GetUID(), v.session.UID, v.session.Name, v.session.Spec.Owner.Username, was.Replicas, v.since())
		if err := v.holder().Zero(ctx, a.kind, a.object, claim, was.Owners); err != nil {
			return false, err
		}
		v.eventOnBoth(corev1.EventTypeNormal, "AutoscalerPaused", "Hold", fmt.Sprintf("Paused %s; at the end it is %s again.", name, a.kind.Describe(was.Replicas)))
	}
	if _, err := v.holder().GiveBack(ctx, a.kind, a.object, was.Owners, true); err != nil {
		return false, err
	}
	if waiting := a.kind.Inspect(a.object).Unheeded; waiting != "" && v.status().HeldAt == nil {
		v.waiting(v1alpha1.ReasonAutoscalerPausing, "Waiting for "+name+" to pause: "+waiting+".")
		v.again(settleEvery)
		return false, nil
	}
	return true, nil
}

// startAutoscalers puts back what was paused, after everything else: whatever
// the autoscaler makes of the number then is its own decision again.
func (v *visit) startAutoscalers(ctx context.Context) error {
	if v.status().Record == nil {
		return nil
	}
	var failures []error
	for i, was := range slices.Backward(v.status().Record.Autoscalers) {
		kind, ok := v.kinds().For(schema.GroupResource{Group: was.Group, Resource: was.Resource})
		if !ok || was.Resumed {
			continue
		}
		err := v.startAutoscaler(ctx, kind, was)
		for try := 1; try < conflictTries && apierrors.IsConflict(err); try++ {
			err = v.startAutoscaler(ctx, kind, was)
		}
		if isRefusal(err) {
			err = fmt.Errorf("%s %s is still paused: %w%s", kind.Kind().Kind, was.Name, err, v.toSet(err, "workloads.keda"))
		}
		v.status().Record.Autoscalers[i].Resumed = err == nil
		failures = append(failures, err)
	}
	return all(failures...)
}

func (v *visit) startAutoscaler(ctx context.Context, kind hold.Workload, was v1alpha1.Autoscaler) error {
	object, err := v.holder().Read(ctx, kind, client.ObjectKey{Namespace: v.session.Namespace, Name: was.Name})
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	record := &v1alpha1.Record{UID: was.UID, Replicas: was.Replicas, ReplicaOwners: was.Owners}
	seen := hold.Observe(kind, object, v.session.UID)
	name := kind.Kind().Kind + " " + was.Name
	switch ownership.DecideReturn(record, seen, true) {
	case ownership.ReturnNumber:
		if err := v.holder().Return(ctx, kind, object, was.Replicas, was.Owners); err != nil {
			return err
		}
		v.eventOnBoth(corev1.EventTypeNormal, "AutoscalerResumed", "Restore", name+" is "+kind.Describe(was.Replicas)+" again.")
	case ownership.ReturnClaim:
		if err := v.holder().Drop(ctx, object); err != nil {
			return err
		}
	case ownership.ReturnNothing:
		if seen.UID != was.UID || !seen.OwnEntry {
			return nil
		}
	}
	var owners []v1alpha1.FieldOwner
	if seen.OwnNumber || was.Replicas != 0 {
		owners = was.Owners
	}
	_, err = v.holder().GiveBack(ctx, kind, object, owners, false)
	return err
}
