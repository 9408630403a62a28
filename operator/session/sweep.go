package session

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// Sweeper puts back what no session remembers: workloads that bear a claim
// whose session is gone, because somebody forced its finalizer off or a backup
// brought the workload back without it. It is a reconciler of one kind of
// workload, woken for those that bear a claim.
type Sweeper struct {
	*Reconciler
	Kind hold.Workload
}

// sweepAgain is how often a claim whose session lives is looked at again.
const sweepAgain = 10 * time.Minute

// tidyTries bounds how long a sweep waits for the workload's controller; what
// is missed then the sweep of the copies finds.
const tidyTries = 50

// Reconcile implements reconcile.Reconciler.
func (s *Sweeper) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	object, err := s.holder().Read(ctx, s.Kind, request.NamespacedName)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !bearsOurs(object) {
		return reconcile.Result{}, nil
	}
	if claim, err := hold.ParseClaim(object.GetAnnotations()[v1alpha1.ClaimAnnotation]); err == nil && claim.Workload == object.GetUID() {
		alive, err := s.livingIn(ctx, request.Namespace, claim.Name, claim.Session)
		if err != nil {
			return reconcile.Result{}, err
		}
		if alive != nil {
			return reconcile.Result{RequeueAfter: sweepAgain}, nil
		}
	} else if held, err := s.remembered(ctx, object); held || err != nil {
		// Its session knows better than a damaged annotation, or none.
		return reconcile.Result{RequeueAfter: sweepAgain}, err
	}
	err = s.sweepOne(ctx, s.Kind, object)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{RequeueAfter: sweepAgain}, err
}

// bearsOurs says whether there is anything of ours on a workload: a claim, or
// the ownership of a field.
func bearsOurs(object client.Object) bool {
	_, claimed := object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	return claimed || hold.OwnsAnything(object.GetManagedFields())
}

// remembered says whether a living session has a record of the workload.
func (s *Sweeper) remembered(ctx context.Context, object client.Object) (bool, error) {
	var sessions v1alpha1.SessionList
	if err := s.Live.List(ctx, &sessions, client.InNamespace(object.GetNamespace())); err != nil {
		return false, fmt.Errorf("listing sessions: %w", err)
	}
	for i := range sessions.Items {
		record := sessions.Items[i].Status.Record
		if record != nil && record.UID == object.GetUID() && !restored(&sessions.Items[i]) {
			return true, nil
		}
	}
	return false, nil
}

// sweepOne puts one workload back whose claim belongs to nobody. The owners of
// the number went with the Session's status: while it was held they owned the
// zero, so they are still there; ours is taken away.
func (r *Reconciler) sweepOne(ctx context.Context, kind hold.Workload, object client.Object) error {
	seen := hold.Observe(kind, object, "")
	action, err := hold.DecideSweep(seen)
	holder := r.holder()
	owners := seen.Owners
	switch {
	case err != nil:
		r.tell(kind, object, corev1.EventTypeWarning, v1alpha1.ReasonRecordUnreadable, "The workload is at zero and the claim of a session that is gone cannot be read: set the number by hand and take the annotation off.")
		log.FromContext(ctx).Error(err, "claim left for a person", "workload", client.ObjectKeyFromObject(object))
		return nil
	case action == hold.ReturnNumber:
		if err := holder.Return(ctx, kind, object, seen.Claim.Replicas); err != nil {
			return err
		}
		r.Metrics.swept()
		r.tell(kind, object, corev1.EventTypeWarning, "Restored", fmt.Sprintf("Put %d replicas back: session %s of %s is gone.", seen.Claim.Replicas, seen.Claim.Name, seen.Claim.Owner))
	case action == hold.ReturnClaim:
		if err := holder.Drop(ctx, object); err != nil {
			return err
		}
		r.tell(kind, object, corev1.EventTypeNormal, "ClaimRemoved", "Took off the claim of a session that is gone.")
	}
	return r.tidy(ctx, kind, object, owners)
}

// tidy gives the ownership back and cleans the copies, for as long as the
// workload's controller is still writing to it.
func (r *Reconciler) tidy(ctx context.Context, kind hold.Workload, object client.Object, owners []v1alpha1.FieldOwner) error {
	holder, key := r.holder(), client.ObjectKeyFromObject(object)
	for range tidyTries {
		_, err := holder.GiveBack(ctx, object, owners, false)
		waiting := ""
		if err == nil {
			waiting, err = kind.Settle(ctx, holder.API, object)
		}
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return err
		}
		if apierrors.IsNotFound(err) || (err == nil && waiting == "") {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleEvery):
		}
		if object, err = holder.Read(ctx, kind, key); err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	return nil
}

func (r *Reconciler) tell(kind hold.Workload, object client.Object, eventType, reason, note string) {
	if r.Events == nil {
		return
	}
	ref := &corev1.ObjectReference{Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID()}
	ref.APIVersion, ref.Kind = kind.Kind().ToAPIVersionAndKind()
	r.Events.Eventf(ref, nil, eventType, reason, "Sweep", "%s", note)
}

// CopySweep takes the copies of claims off ReplicaSets, rarely: a restore
// cleans its own, but a controller that works on an old view may copy once
// more. It lists metadata alone, a page at a time.
type CopySweep struct {
	Live   client.Reader
	Writer client.Writer
	// Every is the time between two sweeps; 0 is 30 minutes.
	Every time.Duration
}

// NeedLeaderElection is asked by the manager.
func (s *CopySweep) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends.
func (s *CopySweep) Start(ctx context.Context) error {
	every := s.Every
	if every == 0 {
		every = 30 * time.Minute
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "sweeping the replica sets' copies of claims")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Sweep goes once through the cluster's ReplicaSets.
func (s *CopySweep) Sweep(ctx context.Context) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ReplicaSetList"))
	for {
		if err := s.Live.List(ctx, list, client.Limit(500), client.Continue(list.Continue)); err != nil {
			return fmt.Errorf("listing replica sets: %w", err)
		}
		for i := range list.Items {
			if err := s.clean(ctx, &list.Items[i]); err != nil {
				return err
			}
		}
		if list.Continue == "" {
			return nil
		}
	}
}

func (s *CopySweep) clean(ctx context.Context, set *metav1.PartialObjectMetadata) error {
	value, claimed := set.Annotations[v1alpha1.ClaimAnnotation]
	_, nudged := set.Annotations[hold.NudgeAnnotation]
	if !claimed && !nudged {
		return nil
	}
	if claim, err := hold.ParseClaim(value); err == nil {
		r := Reconciler{Live: s.Live}
		if alive, err := r.livingIn(ctx, set.Namespace, claim.Name, claim.Session); err != nil || alive != nil {
			return err
		}
	}
	before := set.DeepCopy()
	delete(set.Annotations, v1alpha1.ClaimAnnotation)
	delete(set.Annotations, hold.NudgeAnnotation)
	if err := s.Writer.Patch(ctx, set, client.MergeFrom(before), client.FieldOwner(hold.FieldManager)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cleaning replica set %s/%s: %w", set.Namespace, set.Name, err)
	}
	return nil
}

// sessionsOf finds the living sessions in a list that are about one workload.
func sessionsOf(sessions []v1alpha1.Session, resource string, name string) []types.NamespacedName {
	var keys []types.NamespacedName
	for i := range sessions {
		target := sessions[i].Spec.Target
		if target.Name == name && target.Resource == resource && !restored(&sessions[i]) {
			keys = append(keys, client.ObjectKeyFromObject(&sessions[i]))
		}
	}
	return keys
}
