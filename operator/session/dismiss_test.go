package session

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// pod reads it; nil when it is gone.
func (w *world) pod(name string) *corev1.Pod {
	w.t.Helper()
	pod := &corev1.Pod{}
	err := w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, pod)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return pod
}

// twice is an operator under which alice's session is ready with its second stand-in.
// Some happen before the first is lost.
func (w *world) twice(replicas int32, before ...func()) *Reconciler {
	w.t.Helper()
	operator := w.held(replicas)
	for _, happens := range before {
		happens()
	}
	w.must(w.Delete(w.ctx, w.stand("alice")))
	w.drive(operator, "alice", "another stand-in is ready", func() bool {
		return w.session("alice").Status.Agent.Incarnation == 2 && w.isReady("alice")
	})
	return operator
}

// A stand-in that was lost may run on for long, and its local process still have the
// queue when the session ends: the workload waits for that one too, though the one
// that came after it has ended.
func TestEarlierStandInStillRuns(t *testing.T) {
	w := newWorld(t)
	operator := w.twice(2, func() { w.deaf["alice-standin-1"] = true })
	if first := w.pod("alice-standin-1"); first == nil || first.DeletionTimestamp.IsZero() || !containerRuns(first, "worker") {
		t.Fatalf("the first stand-in does not run on: %+v", first)
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	move := func() {
		t.Helper()
		w.play()
		w.must(w.reconcile(operator, "alice"))
		if first := w.pod("alice-standin-1"); first != nil && containerRuns(first, "worker") && *w.deployment("worker").Spec.Replicas != 0 {
			t.Fatal("the workload is back while the first stand-in runs")
		}
	}
	w.until("the second stand-in is gone", func() bool { move(); return w.pod("alice-standin-2") == nil })
	for range 5 {
		move()
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionRestored); c.Reason != v1alpha1.ReasonStandInEnding || !strings.Contains(c.Message, "alice-standin-1") {
		t.Errorf("Restored is %s: %s", c.Reason, c.Message)
	}
	delete(w.deaf, "alice-standin-1")
	w.until("the session is gone", func() bool { move(); return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}

// A pod that only has the name that a stand-in would have is somebody else's: it is
// neither deleted nor waited for.
func TestSomebodysPodOfThatName(t *testing.T) {
	w := newWorld(t)
	operator := w.twice(2)
	w.until("the first stand-in is gone", func() bool { w.play(); return w.pod("alice-standin-1") == nil })
	theirs := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "alice-standin-1"},
		Spec:       corev1.PodSpec{NodeName: w.node, Containers: []corev1.Container{{Name: "worker", Image: "registry.example/theirs:1"}}},
	}
	w.must(w.Create(w.ctx, theirs))
	w.until("it runs", func() bool { w.play(); return containerRuns(w.pod(theirs.Name), "worker") })
	w.end(operator, "alice")
	if pod := w.pod(theirs.Name); pod == nil || pod.UID != theirs.UID || !pod.DeletionTimestamp.IsZero() {
		t.Errorf("it was deleted: %+v", pod)
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}

// A stand-in that has lost its label is gone for the watch, which is not what its end
// is known by.
func TestStandInWithoutItsLabel(t *testing.T) {
	w := newWorld(t)
	operator := w.held(2)
	watching, err := w.Watch(w.ctx, &corev1.PodList{}, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.SessionLabel})
	w.must(err)
	defer watching.Stop()
	const name = "alice-standin-1"
	w.deaf[name] = true // it takes its time to end
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.must(w.reconcile(operator, "alice"))
	if pod := w.pod(name); pod == nil || pod.DeletionTimestamp.IsZero() {
		t.Fatal("it was not asked to end")
	}
	unlabel := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"`+v1alpha1.SessionLabel+`":null}}}`))
	w.must(w.Patch(w.ctx, w.pod(name), unlabel))
	queue := priorityqueue.New[reconcile.Request](t.Name())
	defer queue.ShutDown()
	for e := range watching.ResultChan() {
		if pod, ok := e.Object.(*corev1.Pod); ok && e.Type == watch.Deleted {
			operator.wakeSessionOfPod(w.WithWatch).Delete(w.ctx, event.DeleteEvent{Object: pod}, queue)
			break
		}
	}
	for range 5 {
		w.must(w.reconcile(operator, "alice"))
	}
	if pod := w.pod(name); pod == nil || !containerRuns(pod, "worker") {
		t.Fatal("it has ended")
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 0 {
		t.Errorf("the workload is at %d while the stand-in's agent runs", n)
	}
	delete(w.deaf, name)
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
}

// What an administrator's restore has said of a session before it was cut short does
// not say that the stand-in has ended.
func TestRestoreByHandCutShort(t *testing.T) {
	w := newWorld(t)
	w.held(2)
	s := w.session("alice")
	held := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionHeld)
	held.Status, held.Reason = metav1.ConditionFalse, v1alpha1.ReasonRestoring
	w.must(w.Status().Update(w.ctx, s))
	w.must(w.Delete(w.ctx, w.session("alice")))
	operator := w.operator(w.WithWatch)
	w.deaf["alice-standin-1"] = true
	for range 4 {
		w.must(w.reconcile(operator, "alice"))
	}
	if pod := w.pod("alice-standin-1"); pod == nil || pod.DeletionTimestamp.IsZero() {
		t.Errorf("the stand-in was not asked to end: %+v", pod)
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 0 {
		t.Errorf("the workload is at %d while the stand-in's agent runs", n)
	}
	delete(w.deaf, "alice-standin-1")
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}
