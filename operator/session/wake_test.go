package session

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// What a stand-in's pod does wakes its session: of one that is over the end of the
// pod at once, and each step towards it after the numbers of others, or not at all
// where there are many of them.
func TestStandInWakes(t *testing.T) {
	const nothing = "nothing"
	atOnce, later := fmt.Sprint(wakeNow), fmt.Sprint(wakeForRest)
	for name, c := range map[string]struct {
		session   string
		few, many string // of a step
	}{
		"lives":              {"alive", atOnce, atOnce},
		"was ended":          {"ended", later, nothing},
		"is being deleted":   {"deleted", later, nothing},
		"is gone, or unread": {"gone", atOnce, atOnce},
	} {
		for _, owed := range []int{crowd - 1, crowd} {
			t.Run(fmt.Sprintf("%s, %d numbers", name, owed), func(t *testing.T) {
				r := &Reconciler{}
				for i := range owed {
					r.returns.owes(types.NamespacedName{Namespace: "shop", Name: fmt.Sprint(i)}, "", time.Now().Add(time.Hour))
				}
				step := c.few
				if owed >= crowd {
					step = c.many
				}
				pod := podOf(c.session)
				if woken := wokenBy(t, r, func(h handler.EventHandler, queue wakeups) {
					before := pod.DeepCopy()
					before.ResourceVersion = "1"
					h.Update(t.Context(), event.UpdateEvent{ObjectOld: before, ObjectNew: pod}, queue)
				}); woken != step {
					t.Errorf("a step wakes %s, want %s", woken, step)
				}
				if woken := wokenBy(t, r, func(h handler.EventHandler, queue wakeups) {
					h.Delete(t.Context(), event.DeleteEvent{Object: pod}, queue)
				}); woken != atOnce {
					t.Errorf("its end wakes %s, want %s", woken, atOnce)
				}
			})
		}
	}
}

// podOf is what the watch shows of a session's stand-in.
func podOf(session string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: session + "-standin-1", ResourceVersion: "2",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Session", Name: session, UID: types.UID(session), Controller: ptr.To(true)}},
	}}
}

// wokenBy answers the priority at which an event has a session looked at.
func wokenBy(t *testing.T, r *Reconciler, happens func(handler.EventHandler, wakeups)) string {
	t.Helper()
	session := func(name string) *v1alpha1.Session {
		return &v1alpha1.Session{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Finalizers: []string{v1alpha1.Finalizer}}}
	}
	ended, deleted := session("ended"), session("deleted")
	ended.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonLeaseExpired}}
	deleted.DeletionTimestamp = ptr.To(metav1.Now())
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	cache := fake.NewClientBuilder().WithScheme(scheme).WithObjects(session("alive"), ended, deleted).Build()

	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	happens(r.wakeSessionOfPod(cache), queue)
	// Nothing comes after this one, so whatever was asked for comes before it.
	last := reconcile.Request{NamespacedName: types.NamespacedName{Name: "last"}}
	queue.AddWithOpts(priorityqueue.AddOpts{Priority: ptr.To(2 * handler.LowPriority)}, last)
	request, priority, _ := queue.GetWithPriority()
	switch {
	case request == last:
		return "nothing"
	case request.Namespace != "shop":
		t.Errorf("woken is %s", request)
	}
	return fmt.Sprint(priority)
}
