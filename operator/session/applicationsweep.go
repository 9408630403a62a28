package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// ApplicationSweeper gives the Applications of Argo CD back that a session kept
// from syncing by themselves, once it is no more.
type ApplicationSweeper struct{ *Reconciler }

// Reconcile implements reconcile.Reconciler.
func (s *ApplicationSweeper) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	err := s.sweepApplication(ctx, request.NamespacedName)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, err
}

// applicationsOfGone are those that a session has left behind.
func applicationsOfGone() handler.EventHandler {
	return handler.Funcs{DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		session, ok := e.Object.(*v1alpha1.Session)
		if !ok || session.Status.Record == nil {
			return
		}
		for _, a := range session.Status.Record.Applications {
			queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: a.Namespace, Name: a.Name}})
		}
	}}
}

func (s *Sweep) sweepApplications(ctx context.Context, namespace string) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(hold.ApplicationKind.GroupVersion().WithKind(hold.ApplicationKind.Kind + "List"))
	var failures []error
	for {
		if err := s.Live.List(ctx, list, client.InNamespace(namespace), client.Limit(500), client.Continue(list.Continue)); err != nil {
			if unreachable(err) {
				return nil
			}
			return fmt.Errorf("listing applications in namespace %s: %w", namespace, err)
		}
		for i := range list.Items {
			if v1alpha1.Paused(list.Items[i].Annotations) || ownership.OwnsAnything(list.Items[i].ManagedFields) {
				failures = append(failures, s.sweepApplication(ctx, client.ObjectKeyFromObject(&list.Items[i])))
			}
		}
		if list.Continue == "" {
			return errors.Join(failures...)
		}
	}
}

// sweepApplication gives an Application back whose sessions are gone. What is
// switched off, and cannot be read by anybody, is left for a person.
func (r *Reconciler) sweepApplication(ctx context.Context, key types.NamespacedName) error {
	application, err := r.holder().ReadApplication(ctx, key)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return err
	}
	seen := hold.ObserveApplication(application, "")
	if !v1alpha1.Paused(application.GetAnnotations()) && !seen.OwnEntry {
		return nil
	}
	if wanted, err := r.wantsPaused(ctx, seen.UID); err != nil || wanted {
		return err
	}
	pauses, unreadable := v1alpha1.Pauses(application.GetAnnotations(), seen.UID)
	for _, p := range pauses {
		if alive, err := r.livingIn(ctx, p.Namespace, p.Name, p.Session); err != nil || alive != nil {
			return err
		}
	}
	owners := seen.Rightful()
	switch {
	case seen.Replicas == 0 && len(pauses) == 0 && len(unreadable) > 0:
		r.tellApplication(application, v1alpha1.ReasonRecordUnreadable, "Sweep",
			"Automated sync is switched off, and what a session that is gone knew of it cannot be read: switch it on if it was, and take the annotations understudy.dev/paused-by- off.")
		return nil
	case seen.Replicas == 0 && len(pauses) > 0:
		last := pauses[len(pauses)-1]
		if err := r.holder().ResumeApplication(ctx, application, last.Enabled, owners); err != nil {
			return err
		}
		r.Metrics.swept()
		r.tellApplication(application, "ApplicationResumed", "Sweep", "Automated sync is as it was; session "+last.Namespace+"/"+last.Name+" of "+last.Owner+" is gone.")
	case v1alpha1.Paused(application.GetAnnotations()):
		if copied := v1alpha1.CopiedPauses(application.GetAnnotations(), seen.UID); seen.Replicas == 0 && len(copied) > 0 {
			r.tellApplication(application, "PauseRemoved", "Sweep", fmt.Sprintf(
				"Made from a copy of another application, whose automated sync was off for session %s/%s of %s: it is left off here. Set spec.syncPolicy.automated.enabled if it is to be on.", copied[0].Namespace, copied[0].Name, copied[0].Owner))
		}
		if err := r.holder().LeaveApplication(ctx, application, hold.PauseKeys(application)...); err != nil {
			return err
		}
	}
	return r.holder().GiveBackApplication(ctx, application, owners, false)
}

// wantsPaused says whether a living session has that Application in its record.
func (r *Reconciler) wantsPaused(ctx context.Context, application types.UID) (bool, error) {
	var sessions v1alpha1.SessionList
	if err := r.Live.List(ctx, &sessions); noSessions(err) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("listing sessions: %w", err)
	}
	return slices.ContainsFunc(sessions.Items, func(s v1alpha1.Session) bool {
		record := s.Status.Record
		return record != nil && !restored(&s) && slices.ContainsFunc(record.Applications, func(a v1alpha1.Application) bool { return a.UID == application })
	}), nil
}
