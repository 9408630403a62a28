package session

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
)

// workers is how many sessions are worked on at the same time.
const workers = 96

// retryFirst and retryMost bound the wait after a failed reconciliation.
const (
	retryFirst = 20 * time.Millisecond
	retryMost  = 15 * time.Second
)

// AddTo adds the controllers of sessions and of left-over claims to a manager,
// with everything that wakes them.
func (r *Reconciler) AddTo(mgr manager.Manager) error {
	r.targets = &targetWatches{client: r.Pods.Client, wake: r.Pods.wake}
	r.Hearing.Wake = r.Pods.ask
	for _, runnable := range []manager.Runnable{r.Hearing, r.Pods, r.targets, &Sweep{Reconciler: r}} {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("adding %T: %w", runnable, err)
		}
	}
	limiter := func() workqueue.TypedRateLimiter[reconcile.Request] {
		return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost)
	}
	sessions := builder.ControllerManagedBy(mgr).Named("session").
		For(&v1alpha1.Session{}, builder.WithPredicates(askedFor)).
		// Of pods and leases nothing is in the cache but who they are: it is their
		// changes that wake, and what they say is read when it is needed.
		WatchesMetadata(&corev1.Pod{}, r.wakeSessionOfPod(mgr.GetCache())).
		WatchesMetadata(&coordinationv1.Lease{}, r.listen()).
		Watches(&v1alpha1.Session{}, wakeQueue(mgr.GetCache())).
		WatchesRawSource(source.Channel(r.Pods.Wake, woken())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers, RateLimiter: limiter()})
	for _, kind := range r.kinds() {
		if cached(kind) {
			sessions = sessions.WatchesMetadata(kind.New(), r.wakeSessionsOf(mgr.GetCache(), kind))
		}
	}
	if err := sessions.Complete(r); err != nil {
		return fmt.Errorf("adding the controller of sessions: %w", err)
	}
	if r.AgentsNamespace != "" {
		err := builder.ControllerManagedBy(mgr).Named("sweep-frozen").
			For(&coordinationv1.Lease{}, builder.OnlyMetadata, builder.WithPredicates(predicate.NewPredicateFuncs(func(o client.Object) bool { return isLock(r.AgentsNamespace, o) }))).
			Watches(&v1alpha1.Session{}, lockOfGone(r.AgentsNamespace)).
			WithOptions(controller.Options{RateLimiter: limiter()}).
			Complete(&ThawSweeper{r})
		if err != nil {
			return fmt.Errorf("adding the sweeper of what is frozen: %w", err)
		}
	}
	if len(r.ArgoCD) > 0 {
		err := builder.ControllerManagedBy(mgr).Named("sweep-applications").
			Watches(&v1alpha1.Session{}, applicationsOfGone()).
			WithOptions(controller.Options{RateLimiter: limiter()}).
			Complete(&ApplicationSweeper{r})
		if err != nil {
			return fmt.Errorf("adding the sweeper of applications: %w", err)
		}
	}
	for _, kind := range r.kinds() {
		if !hold.Holds(kind) {
			continue
		}
		// Those of the other kinds are found by the sweep, at the start and from
		// time to time.
		sweeping := builder.ControllerManagedBy(mgr).Named("sweep-"+kind.Resource().String()).
			Watches(&v1alpha1.Session{}, whenGone(kind)).
			WithOptions(controller.Options{RateLimiter: limiter()})
		if cached(kind) {
			claimed := predicate.NewPredicateFuncs(bearsOurs)
			sweeping = sweeping.WatchesMetadata(kind.New(), &handler.EnqueueRequestForObject{}, builder.WithPredicates(claimed))
		}
		if err := sweeping.Complete(&Sweeper{Reconciler: r, Kind: kind}); err != nil {
			return fmt.Errorf("adding the sweeper of %s: %w", kind.Resource(), err)
		}
	}
	return nil
}

// askedFor lets through what others ask of a Session, which is no more than its
// creation and deletion; what we write ourselves wakes nobody.
var askedFor = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return e.ObjectOld.GetGeneration() != e.ObjectNew.GetGeneration() ||
		e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero()
}}

// listen notes renewals as they come. They wake nobody: a session asks to be
// woken when it could have expired.
func (r *Reconciler) listen() handler.EventHandler {
	hear := func(object client.Object) {
		if key, uid, ok := sessionOwner(object); ok {
			r.Hearing.Renewed(key, uid, object.GetResourceVersion())
		}
	}
	return handler.Funcs{
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			hear(e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if key, _, ok := sessionOwner(e.Object); ok {
				queue.Add(reconcile.Request{NamespacedName: key})
			}
		},
	}
}

// whenGone looks at a session's workload once the session is no more, or has ended
// with a workload whose controller had not acted on the number yet.
func whenGone(kind hold.Workload) handler.EventHandler {
	look := func(object client.Object, queue wakeups) {
		session, ok := object.(*v1alpha1.Session)
		if !ok {
			return
		}
		at := func(resource schema.GroupResource, name string) {
			if resource == kind.Resource() {
				queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: session.Namespace, Name: name}})
			}
		}
		at(groupResource(session.Spec.Target), session.Spec.Target.Name)
		if record := session.Status.Record; record != nil {
			for _, a := range record.Autoscalers {
				at(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue wakeups) {
			if notFollowed(e.Object) { // as an operator of before has left it
				look(e.Object, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue wakeups) { look(e.Object, queue) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue wakeups) {
			if notFollowed(e.ObjectNew) && !notFollowed(e.ObjectOld) {
				look(e.ObjectNew, queue)
			}
		},
	}
}

func notFollowed(object client.Object) bool {
	session, ok := object.(*v1alpha1.Session)
	if !ok {
		return false
	}
	restored := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionRestored)
	return restored != nil && restored.Reason == v1alpha1.ReasonNotFollowed
}
