package session

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/nodeagent"
)

// Where a thousand sessions end at once, what has to be done until a number is
// back comes before what is left to do after it: else the first to be put back
// would take the API server from the last. And before either comes what an end
// begins with: stand-ins take their time to go, all beside each other, and each number
// brings pods that keep the API server from the rest. So each wake says which of
// these it is for. Where nobody else waits there is no difference.
const (
	wakeToEnd   = 1
	wakeNow     = 0
	wakeForRest = handler.LowPriority
)

// wakeups is the queue of the controller of sessions.
type wakeups = workqueue.TypedRateLimitingInterface[reconcile.Request]

// enqueue has a session looked at, after those of a higher priority.
func enqueue(queue wakeups, key types.NamespacedName, priority int) {
	request := reconcile.Request{NamespacedName: key}
	if by, ok := queue.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		by.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(priority)}, request)
		return
	}
	queue.Add(request)
}

// Wake asks for a session to be looked at.
type Wake struct {
	types.NamespacedName
	// Priority is of wakeToEnd, wakeNow and wakeForRest.
	Priority int
}

// woken takes what the operator's own watches and clock ask for.
func woken() handler.TypedEventHandler[Wake, reconcile.Request] {
	return handler.TypedFuncs[Wake, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[Wake], queue wakeups) {
			enqueue(queue, e.Object.NamespacedName, e.Object.Priority)
		},
	}
}

// wakeSessionsOf wakes the sessions about a workload at any change of it: a
// new number, a stripped claim, a status that speaks of pods, its end. Of one that
// is being put back it is mostly its own controller that is at work.
func (r *Reconciler) wakeSessionsOf(reader client.Reader, kind hold.Workload) handler.EventHandler {
	return atEach(func(ctx context.Context, object client.Object, _ bool, queue wakeups) {
		var sessions v1alpha1.SessionList
		if err := reader.List(ctx, &sessions, client.InNamespace(object.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
			return // the cache is closing
		}
		for _, session := range sessionsOf(sessions.Items, kind.Resource().Resource, object.GetName()) {
			priority := wakeNow
			if puttingBack(session) {
				priority = wakeForRest
			}
			enqueue(queue, client.ObjectKeyFromObject(session), priority)
		}
	})
}

// Wakes says whether a session's condition is one by which others' sessions are woken,
// or itself by its pods and workload: all that has to be known of it without reading it.
func Wakes(condition string) bool {
	switch condition {
	case v1alpha1.ConditionReady, v1alpha1.ConditionClaimed, v1alpha1.ConditionHeld, v1alpha1.ConditionRestored:
		return true
	}
	return false
}

// puttingBack says whether a session's number is back, or is being written.
func puttingBack(session *v1alpha1.Session) bool {
	held := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionHeld)
	return held != nil && held.Status == metav1.ConditionFalse && held.Reason == v1alpha1.ReasonRestoring
}

// wakeSessionOfPod wakes the session of a stand-in, or of an agent on a node. Once
// the session is over it is the pod's end that matters, not each step towards it:
// where there are many nobody looks at those.
func (r *Reconciler) wakeSessionOfPod(reader client.Reader) handler.EventHandler {
	return atEach(func(ctx context.Context, pod client.Object, gone bool, queue wakeups) {
		key, _, ok := nodeagent.SessionOf(pod)
		if !ok {
			key, _, ok = sessionOwner(pod)
		}
		if !ok {
			return
		}
		session := &v1alpha1.Session{}
		err := reader.Get(ctx, key, session, client.UnsafeDisableDeepCopy)
		switch step := !gone && err == nil && !alive(session); {
		case !step:
			enqueue(queue, key, wakeNow)
		case !r.returns.many(time.Now()):
			enqueue(queue, key, wakeForRest)
		}
	})
}

// atEach has a function called at each event, with the object as it is now and
// with whether it is gone.
func atEach(do func(ctx context.Context, object client.Object, gone bool, queue wakeups)) handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue wakeups) { do(ctx, e.Object, false, queue) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue wakeups) { do(ctx, e.ObjectNew, false, queue) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue wakeups) { do(ctx, e.Object, true, queue) },
	}
}
