package session

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/nodeagent"
)

// ThawSweeper thaws what no session remembers: pods that bear a lock whose
// session is gone, because somebody forced its finalizer off. It is a
// reconciler of the locks.
type ThawSweeper struct{ *Reconciler }

// Reconcile implements reconcile.Reconciler.
func (s *ThawSweeper) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	held := &coordinationv1.Lease{}
	if err := s.Live.Get(ctx, request.NamespacedName, held); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	key, uid, ok := nodeagent.SessionOf(held)
	if !ok || !isLock(s.AgentsNamespace, held) {
		return reconcile.Result{}, nil
	}
	alive, err := s.livingIn(ctx, key.Namespace, key.Name, uid)
	if err != nil || alive != nil {
		return reconcile.Result{RequeueAfter: sweepAgain}, err
	}
	t := &thawing{
		Reconciler: s.Reconciler, namespace: s.AgentsNamespace, session: key, uid: uid, pod: types.UID(held.Name[len(nodeagent.LockName("")):]), node: held.Annotations[lockNodeAnnotation],
		// Whatever was made; keys are named for their number.
		made: 1, silentAt: held.CreationTimestamp.Add(v1alpha1.MaxLeaseDuration),
		prove: func(context.Context, string) error { return nil },
	}
	waiting, err := t.run(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if waiting != "" {
		if t.rejected != "" {
			log.FromContext(ctx).Info("an agent that thaws was not let run", "session", key, "pod", held.Annotations[lockPodAnnotation], "node", t.node, "reason", t.rejected, "next", t.next)
		}
		return reconcile.Result{RequeueAfter: t.lookAgain()}, nil
	}
	log.FromContext(ctx).Info("thawed what a session left that is gone", "session", key, "pod", held.Annotations[lockPodAnnotation], "proof", t.proof)
	return reconcile.Result{}, nil
}

func isLock(namespace string, object client.Object) bool {
	return object.GetNamespace() == namespace && nodeagent.IsLock(object.GetName())
}

// lockOfGone wakes the sweep for a session that is no more.
func lockOfGone(namespace string) handler.EventHandler {
	return handler.Funcs{DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		session, ok := e.Object.(*v1alpha1.Session)
		if ok && session.Status.Frozen != nil {
			name := nodeagent.LockName(session.Status.Frozen.UID)
			queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}, time.Second)
		}
	}}
}
