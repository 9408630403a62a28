package session

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold/ownership"
)

// queue lets a session through when nobody holds its target and nobody who waits
// for it was there before. It decides whose turn it is, not who has the target:
// that is the claim's. So a list that was read too early costs a second look, and
// never gives one workload to two.
//
// Nothing is made for a session that waits but its Lease and the right to renew
// it: an owner who is not heard of loses the place.
func queue(ctx context.Context, v *visit) (bool, error) {
	if !v.scalesDown() || v.object == nil || v.status().HeldAt != nil || v.seen.State == ownership.ClaimOurs {
		return true, nil
	}
	sessions, err := v.neighbours(ctx)
	if err != nil {
		return false, err
	}
	holder, ahead := lineUp(v.session, sessions)
	if holder == nil && v.seen.State == ownership.ClaimForeign {
		// It has claimed the workload and not said so yet.
		if holder, err = v.living(ctx, v.seen.Claim.Name, v.seen.Claim.Session); err != nil {
			return false, err
		}
	}
	switch {
	case holder == nil && len(ahead) == 0:
		return true, v.turn(ctx)
	case !v.session.Spec.Wait && holder != nil:
		return false, heldByAnother(v.targetName(), holder.Spec.Owner.Username, beganAt(holder), holder.Name)
	case !v.session.Spec.Wait:
		return false, final(v1alpha1.ReasonHeldByAnother, "%s is waited for by %s since %s (session %s)", v.targetName(), ahead[0].Spec.Owner.Username, beganAt(ahead[0]), ahead[0].Name)
	case holder == nil:
		holder = ahead[0]
	}
	return false, v.lineBehind(ctx, holder, len(ahead)+1)
}

// turn ends the waiting. The times of the session count from here.
func (v *visit) turn(ctx context.Context) error {
	if v.status().Queue == nil {
		return nil
	}
	now := metav1.NewMicroTime(v.now())
	v.status().Queue, v.status().TurnAt = nil, &now
	v.waiting(v1alpha1.ReasonPending, "It is this session's turn.")
	return v.save(ctx)
}

// lineBehind says whom the session waits for and in which place, and looks
// whether its owner does.
func (v *visit) lineBehind(ctx context.Context, holder *v1alpha1.Session, place int) error {
	if v.status().Queue == nil {
		if err := v.grant(ctx, ""); err != nil {
			return err
		}
	}
	v.status().Queue = &v1alpha1.Queue{Place: int32(place), Holder: holder.Spec.Owner.Username, Session: holder.Name, Since: beganAt(holder)}
	before := ""
	if place > 1 {
		before = fmt.Sprintf(", with %d before this one", place-1)
	}
	v.waiting(v1alpha1.ReasonQueued, fmt.Sprintf("Waiting for %s%s: it is held by %s since %s (session %s).", v.targetName(), before, holder.Spec.Owner.Username, beganAt(holder), holder.Name))
	_, err := lease(ctx, v)
	return err
}

// neighbours are the other sessions about the same object.
func (v *visit) neighbours(ctx context.Context) ([]v1alpha1.Session, error) {
	var all v1alpha1.SessionList
	if err := v.Live.List(ctx, &all, client.InNamespace(v.session.Namespace)); err != nil {
		return nil, fmt.Errorf("listing sessions: %w", err)
	}
	var others []v1alpha1.Session
	for _, s := range all.Items {
		if s.UID != v.session.UID && s.Spec.Target.Names(v.session.Spec.Target) && s.Spec.Takeover == v1alpha1.TakeoverScaleDown {
			others = append(others, s)
		}
	}
	return others, nil
}

// lineUp finds who holds the target of a session, nil if nobody does, and who
// waits for it before that session, the first of them first.
func lineUp(session *v1alpha1.Session, others []v1alpha1.Session) (holder *v1alpha1.Session, ahead []*v1alpha1.Session) {
	for i := range others {
		other := &others[i]
		switch {
		case restored(other):
		case holds(other):
			holder = other
		case other.Spec.Wait && alive(other) && earlier(other, session):
			ahead = append(ahead, other)
			for at := len(ahead) - 1; at > 0 && earlier(ahead[at], ahead[at-1]); at-- {
				ahead[at], ahead[at-1] = ahead[at-1], ahead[at]
			}
		}
	}
	return holder, ahead
}

func holds(session *v1alpha1.Session) bool {
	return session.Status.HeldAt != nil || meta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionClaimed)
}

// alive says whether a session that holds nothing may still come to hold.
func alive(session *v1alpha1.Session) bool {
	ready := meta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady)
	over := ready != nil && ready.Status == metav1.ConditionFalse && finalReasons[ready.Reason]
	return session.DeletionTimestamp.IsZero() && !over && !restored(session)
}

// earlier is the order of arrival. Times of creation are whole seconds; within
// one who waits is before who does not, so that nobody passes a queue, and then
// the UIDs decide, which everybody sees the same.
func earlier(a, b *v1alpha1.Session) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	if a.Spec.Wait != b.Spec.Wait {
		return a.Spec.Wait
	}
	return strings.Compare(string(a.UID), string(b.UID)) < 0
}

// beganAt is since when a session has its place: as a holder, or in the queue.
func beganAt(session *v1alpha1.Session) string {
	at := session.CreationTimestamp.Time
	if turn := session.Status.TurnAt; turn != nil {
		at = turn.Time
	}
	return at.UTC().Format(time.RFC3339)
}

// wakeQueue has those look again who wait for a session's target, when that
// session came to hold it, or will not hold it any more, or joined the queue,
// where it may come before others of the same second, or left it. A waiting
// session writes to nothing but itself unless it is the next.
func wakeQueue(reader client.Reader) handler.EventHandler {
	wake := func(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		session, ok := object.(*v1alpha1.Session)
		if !ok || session.Spec.Takeover != v1alpha1.TakeoverScaleDown {
			return
		}
		var sessions v1alpha1.SessionList
		if err := reader.List(ctx, &sessions, client.InNamespace(session.Namespace), client.UnsafeDisableDeepCopy); err != nil {
			return // the cache is closing
		}
		for i := range sessions.Items {
			other := &sessions.Items[i]
			if other.Spec.Wait && other.UID != session.UID && other.Spec.Target.Names(session.Spec.Target) && !holds(other) && alive(other) {
				queue.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: other.Namespace, Name: other.Name}})
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if session, ok := e.Object.(*v1alpha1.Session); ok && session.Spec.Wait && session.Status.Queue == nil {
				wake(ctx, session, queue)
			}
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			before, ok := e.ObjectOld.(*v1alpha1.Session)
			after, same := e.ObjectNew.(*v1alpha1.Session)
			if ok && same && (holds(before) != holds(after) || alive(before) != alive(after) || restored(before) != restored(after)) {
				wake(ctx, after, queue)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			wake(ctx, e.Object, queue)
		},
	}
}
