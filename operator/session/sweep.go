package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
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

// tidyTries bounds how long a sweep waits for the workload's controller at once; what
// is missed then the looks at the copies find.
const tidyTries = 50

// Reconcile implements reconcile.Reconciler.
func (s *Sweeper) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	kind, err := s.learn(ctx, s.Kind.Resource())
	var no *finalError
	if errors.As(err, &no) {
		// The kind is not there (any more), and with it went its objects.
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	object, err := s.holder().Read(ctx, kind, request.NamespacedName)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if !bearsOurs(object) {
		// Perhaps the reply of a request was lost, and
		// what follows it was not done.
		return s.cleanCopies(ctx, kind, object)
	}
	claim, unreadable := hold.ParseClaim(object.GetAnnotations()[v1alpha1.ClaimAnnotation])
	if unreadable == nil {
		if living, err := s.ofLiving(ctx, kind, object, claim); living || err != nil {
			return reconcile.Result{RequeueAfter: sweepAgain}, err
		}
	}
	if unreadable != nil || claim.Workload != object.GetUID() {
		// Its session knows better than a damaged annotation, or none.
		if held, err := s.remembered(ctx, object); held || err != nil {
			return reconcile.Result{RequeueAfter: sweepAgain}, err
		}
	}
	err = s.sweepOne(ctx, kind, object)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{RequeueAfter: sweepAgain}, err
}

// copiesAgain is how soon ReplicaSets are looked at again that bore a copy: their
// controller may have written once more by an old view.
const copiesAgain = 2 * time.Second

// keptAgain is how soon a workload is looked at again that does not follow its number:
// each look makes its controller try that is kept from it, and something else than a
// gate that hears late may keep it for good.
const keptAgain = 30 * time.Second

// cleanCopies takes the copies of claims off the ReplicaSets of one workload.
func (s *Sweeper) cleanCopies(ctx context.Context, kind hold.Workload, object client.Object) (reconcile.Result, error) {
	if r := kind.Resource(); r != (hold.Deployment{}).Resource() && r != (hold.Rollout{}).Resource() {
		return reconcile.Result{}, nil
	}
	sets := &metav1.PartialObjectMetadataList{}
	sets.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ReplicaSetList"))
	selector := kind.Inspect(object).Selector
	if err := s.Live.List(ctx, sets, client.InNamespace(object.GetNamespace()), client.MatchingLabelsSelector{Selector: selector}); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing the replica sets of %s/%s: %w", object.GetNamespace(), object.GetName(), err)
	}
	for i := range sets.Items {
		set := &sets.Items[i]
		if !metav1.IsControlledBy(set, object) {
			continue
		}
		if living, err := s.copyOfLiving(ctx, set); living || err != nil {
			return reconcile.Result{RequeueAfter: copiesAgain}, err
		}
	}
	found := slices.ContainsFunc(sets.Items, func(set metav1.PartialObjectMetadata) bool {
		return metav1.IsControlledBy(&set, object) && bearsCopy(&set)
	})
	waiting, err := kind.Settle(ctx, s.holder().API, object)
	switch {
	case err != nil:
		return reconcile.Result{}, client.IgnoreNotFound(err)
	case waiting.For != "":
		log.FromContext(ctx).Info("a workload whose number is back does not follow it yet", "workload", client.ObjectKeyFromObject(object), "waits for", waiting.For)
		return reconcile.Result{RequeueAfter: keptAgain}, nil
	case found:
		return reconcile.Result{RequeueAfter: copiesAgain}, nil
	}
	return reconcile.Result{}, nil
}

// bearsCopy says whether a ReplicaSet bears anything of ours.
func bearsCopy(set client.Object) bool {
	_, claimed := set.GetAnnotations()[v1alpha1.ClaimAnnotation]
	_, nudged := set.GetAnnotations()[v1alpha1.NudgeAnnotation]
	return claimed || nudged
}

// copyOfLiving says whether the claim that was copied to a ReplicaSet is of a session
// that lives.
func (r *Reconciler) copyOfLiving(ctx context.Context, set client.Object) (bool, error) {
	claim, err := hold.ParseClaim(set.GetAnnotations()[v1alpha1.ClaimAnnotation])
	if err != nil {
		return false, nil // none, or nobody's
	}
	alive, err := r.livingIn(ctx, set.GetNamespace(), claim.Name, claim.Session)
	return alive != nil, err
}

// bearsOurs says whether there is anything of ours on a workload: a claim, a
// mark, or the ownership of a field.
func bearsOurs(object client.Object) bool {
	_, claimed := object.GetAnnotations()[v1alpha1.ClaimAnnotation]
	return claimed || v1alpha1.Marked(object.GetLabels()) || ownership.OwnsAnything(object.GetManagedFields())
}

// ofLiving says whether the claim on an object is of a living session that knows
// what to do about it: one on this very object, or the one that it was taken from
// had been the session's target before this one.
func (s *Sweeper) ofLiving(ctx context.Context, kind hold.Workload, object client.Object, claim hold.Claim) (bool, error) {
	session, err := s.livingIn(ctx, object.GetNamespace(), claim.Name, claim.Session)
	if err != nil || session == nil {
		return false, err
	}
	target := session.Spec.Target
	return claim.Workload == object.GetUID() || (groupResource(target) == kind.Resource() && target.Name == object.GetName()), nil
}

// remembered says whether a living session has a record of the workload.
func (s *Sweeper) remembered(ctx context.Context, object client.Object) (bool, error) {
	var sessions v1alpha1.SessionList
	if err := s.Live.List(ctx, &sessions, client.InNamespace(object.GetNamespace())); err != nil && !noSessions(err) {
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
// zero, or are marked as those that are to have it back, so they are still there;
// ours is taken away.
func (r *Reconciler) sweepOne(ctx context.Context, kind hold.Workload, object client.Object) error {
	seen := hold.Observe(kind, object, "")
	action, err := ownership.DecideSweep(seen)
	holder := r.holder()
	owners := seen.Rightful()
	switch {
	case err != nil:
		r.tell(kind, object, corev1.EventTypeWarning, v1alpha1.ReasonRecordUnreadable, "The workload is at zero and the claim of a session that is gone cannot be read: set the number by hand and take the annotation off.")
		log.FromContext(ctx).Error(err, "claim left for a person", "workload", client.ObjectKeyFromObject(object))
		return nil
	case action == ownership.ReturnNumber:
		if err := holder.Return(ctx, kind, object, seen.Claim.Replicas, owners); err != nil {
			if hold.IsRemade(err) {
				r.tell(kind, object, corev1.EventTypeWarning, v1alpha1.ReasonRefused, "What session "+seen.Claim.Name+" of "+seen.Claim.Owner+" held is not back, which is tried again: "+err.Error()+".")
			}
			return err
		}
		r.Metrics.swept()
		r.tell(kind, object, corev1.EventTypeWarning, "Restored", fmt.Sprintf("Put back: %s; session %s of %s is gone.", kind.Describe(seen.Claim.Replicas), seen.Claim.Name, seen.Claim.Owner))
	case action == ownership.ReturnClaim && seen.Replicas == 0 && seen.Copied.Replicas != 0:
		// Whether it is to have that number nobody knows but a person, and it is
		// written nowhere else. So it is said before it is taken off, in the log too,
		// for an event may be lost.
		log.FromContext(ctx).Info("a copied claim is taken off", "workload", client.ObjectKeyFromObject(object), "resource", kind.Resource().String(), "replicas", seen.Replicas, "copied", seen.Copied.Replicas,
			"session", seen.Copied.Name, "owner", seen.Copied.Owner, "do", byHand(kind, object, seen.Copied.Replicas))
		r.tell(kind, object, corev1.EventTypeWarning, "ClaimRemoved", fmt.Sprintf("It was made at %s with a claim that is of another object, held by session %s of %s: that is taken off, and this one left as it is. Before that session the other had %s. For this one to have that too: %s",
			kind.Describe(0), seen.Copied.Name, seen.Copied.Owner, kind.Describe(seen.Copied.Replicas), byHand(kind, object, seen.Copied.Replicas)))
		if err := holder.Drop(ctx, object); err != nil {
			return err
		}
	case action == ownership.ReturnClaim:
		if err := holder.Drop(ctx, object); err != nil {
			return err
		}
		r.tell(kind, object, corev1.EventTypeNormal, "ClaimRemoved", "Took off the claim of a session that is gone.")
	}
	return r.tidy(ctx, kind, object, owners)
}

// byHand is the command that gives a workload a number.
func byHand(kind hold.Workload, object client.Object, replicas int32) string {
	verb, change := "annotate", strings.TrimPrefix(kind.Field()[len(kind.Field())-1], "f:")+"-"
	switch change {
	case "replicas-":
		verb, change = "scale", fmt.Sprintf("--replicas=%d", replicas)
	case "suspend-":
		verb, change = "patch", fmt.Sprintf(`--type=merge -p '{"spec":{"suspend":%t}}'`, replicas == 0)
	}
	return fmt.Sprintf("kubectl -n %s %s %s/%s %s", object.GetNamespace(), verb, kind.Resource(), object.GetName(), change)
}

// tidy gives the ownership back and cleans the copies, for as long as the
// workload's controller is still writing to it. Where that is still kept from acting
// it is an error, so that it is looked at again.
func (r *Reconciler) tidy(ctx context.Context, kind hold.Workload, object client.Object, owners []v1alpha1.FieldOwner) error {
	holder, key := r.holder(), client.ObjectKeyFromObject(object)
	var waiting hold.Unsettled
	for range tidyTries {
		_, err := holder.GiveBack(ctx, kind, object, owners, false)
		if err == nil {
			waiting, err = kind.Settle(ctx, holder.API, object)
		}
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return err
		}
		if apierrors.IsNotFound(err) || (err == nil && waiting.For == "") {
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
	if waiting.Kept {
		return fmt.Errorf("%s %s is back, and still waits for %s", kind.Resource(), key, waiting.For)
	}
	return nil
}

func (r *Reconciler) tell(kind hold.Workload, object client.Object, eventType, reason, note string) {
	if r.Events == nil {
		return
	}
	ref := &corev1.ObjectReference{Namespace: object.GetNamespace(), Name: object.GetName(), UID: object.GetUID()}
	ref.APIVersion, ref.Kind = kind.Kind().ToAPIVersionAndKind()
	r.Events.Eventf(ref, nil, eventType, reason, "Sweep", "%s", cut(note, maxNote))
}

// Sweep goes through the cluster's objects of every kind that is held, at the start,
// and then rarely of those that are not in the cache: it finds the workloads whose
// claim belongs to no session any more, and the copies of claims on ReplicaSets that
// a restore has missed because a controller worked on an old view. It lists metadata
// alone, a page at a time.
//
// The first time it does not rely on the cache: no controller starts while the
// definition of Sessions is missing, and then every claim is one that is left over.
type Sweep struct {
	*Reconciler
	// Every is the time between two sweeps; 0 is 30 minutes.
	Every time.Duration

	// missed is when the definition of Sessions was first found missing.
	missed time.Time
}

// sweepFailed is how soon a sweep is tried again that did not come through.
const sweepFailed = 30 * time.Second

// lookAtDefinition is how long the definition of Sessions has to be missing before
// it counts as gone.
const lookAtDefinition = 15 * time.Second

// NeedLeaderElection is asked by the manager.
func (s *Sweep) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends.
func (s *Sweep) Start(ctx context.Context) error {
	every := s.Every
	if every == 0 {
		every = 30 * time.Minute
	}
	for first := true; ; {
		wait := every
		switch err := s.sweep(ctx, first); {
		case err == nil:
			first = false
		case errors.Is(err, errUnsure):
			wait = lookAtDefinition
		case ctx.Err() == nil:
			log.FromContext(ctx).Error(err, "sweeping the workloads")
			wait = min(wait, sweepFailed)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Sweep goes once through those that are not in the cache.
func (s *Sweep) Sweep(ctx context.Context) error { return s.sweep(ctx, false) }

// sweep goes once through them. What fails does not keep it from the rest.
func (s *Sweep) sweep(ctx context.Context, all bool) error {
	if err := s.sure(ctx); err != nil {
		return err
	}
	var failures []error
	for _, kind := range s.kinds() {
		if hold.Holds(kind) && (all || !cached(kind)) {
			failures = append(failures, s.sweepKind(ctx, kind))
		}
	}
	for _, namespace := range s.ArgoCD {
		failures = append(failures, s.sweepApplications(ctx, namespace))
	}
	return errors.Join(failures...)
}

var errUnsure = errors.New("it is not known yet whether the cluster has the definition of sessions")

// sure fails while it may be that the API server has only just begun, and does not
// know of the definition of Sessions yet: then every session would seem to be gone.
func (s *Sweep) sure(ctx context.Context) error {
	err := s.Live.List(ctx, &v1alpha1.SessionList{}, client.Limit(1))
	switch {
	case !meta.IsNoMatchError(err):
		s.missed = time.Time{}
	case s.missed.IsZero():
		s.missed = time.Now()
		return errUnsure
	case time.Since(s.missed) < lookAtDefinition:
		return errUnsure
	}
	return nil
}

func (s *Sweep) sweepKind(ctx context.Context, kind hold.Workload) error {
	kind, err := s.learn(ctx, kind.Resource())
	var no *finalError
	if errors.As(err, &no) {
		return nil
	}
	if err != nil {
		return err
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.Kind().GroupVersion().WithKind(kind.Kind().Kind + "List"))
	sweeper := &Sweeper{Reconciler: s.Reconciler, Kind: kind}
	var failures []error
	for {
		if err := s.Live.List(ctx, list, client.Limit(500), client.Continue(list.Continue)); err != nil {
			if meta.IsNoMatchError(err) {
				return nil
			}
			return fmt.Errorf("listing %s: %w", kind.Resource(), err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			switch {
			case kind.Resource() == hold.ReplicaSet{}.Resource() && metav1.GetControllerOf(object) != nil:
				failures = append(failures, s.clean(ctx, object))
			case bearsOurs(object):
				_, err := sweeper.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(object)})
				failures = append(failures, err)
			}
		}
		if list.Continue == "" {
			return errors.Join(failures...)
		}
	}
}

// clean takes the copy of a claim off a ReplicaSet that something controls. One that
// was kept at zero when it was looked at last is looked at by what controls it.
func (s *Sweep) clean(ctx context.Context, set *metav1.PartialObjectMetadata) error {
	if !bearsCopy(set) {
		return nil
	}
	if _, claimed := set.Annotations[v1alpha1.ClaimAnnotation]; !claimed {
		owner := metav1.GetControllerOf(set)
		for _, kind := range s.kinds() {
			if gvk := kind.Kind(); gvk.Kind != owner.Kind || gvk.GroupVersion().String() != owner.APIVersion {
				continue
			}
			request := reconcile.Request{NamespacedName: client.ObjectKey{Namespace: set.Namespace, Name: owner.Name}}
			_, err := (&Sweeper{Reconciler: s.Reconciler, Kind: kind}).Reconcile(ctx, request)
			return err
		}
	}
	if living, err := s.copyOfLiving(ctx, set); living || err != nil {
		return err
	}
	before := set.DeepCopy()
	delete(set.Annotations, v1alpha1.ClaimAnnotation)
	delete(set.Annotations, v1alpha1.NudgeAnnotation)
	if err := s.Writer.Patch(ctx, set, client.MergeFrom(before), client.FieldOwner(hold.FieldManager)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cleaning replica set %s/%s: %w", set.Namespace, set.Name, err)
	}
	return nil
}

// sessionsOf finds the living sessions in a list that are about one workload. Of
// those that wait for it only the next is: the others go by the queue.
func sessionsOf(sessions []v1alpha1.Session, resource string, name string) []*v1alpha1.Session {
	var about []*v1alpha1.Session
	for i := range sessions {
		target := sessions[i].Spec.Target
		later := sessions[i].Status.Queue != nil && sessions[i].Status.Queue.Place > 1
		if target.Name == name && target.Resource == resource && !restored(&sessions[i]) && !later {
			about = append(about, &sessions[i])
		}
	}
	return about
}
