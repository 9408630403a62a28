package session

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// A pod that the operator sees before its container runs has broken the hold once it
// does. It is told once, and again when another one of its name runs, as a
// StatefulSet's does.
func TestPodSeenBeforeItRan(t *testing.T) {
	w := newWorld(t)
	operator := w.held(1)
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	set := &appsv1.ReplicaSet{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "worker-1"}, set))

	for range 2 {
		w.deaf["worker-1-0"] = true
		w.must(w.Create(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: w.namespace, Name: "worker-1-0", Labels: set.Spec.Template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))},
		}, Spec: corev1.PodSpec{NodeName: testNode, Containers: set.Spec.Template.Spec.Containers}}))
		worker := w.deployment("worker")
		worker.Status.Replicas = 1
		w.must(w.Status().Update(w.ctx, worker))
		w.must(w.reconcile(operator, "alice"))
		if w.isReady("alice") {
			t.Fatal("ready beside a pod that is about to run")
		}
		if c := w.conditionOf("alice", v1alpha1.ConditionHoldBroken); c.Status == metav1.ConditionTrue {
			t.Fatalf("a pod that has not run broke the hold: %s", c.Message)
		}
		delete(w.deaf, "worker-1-0")
		w.playKubelet()
		for range 3 {
			w.must(w.reconcile(operator, "alice"))
		}
		if c := w.conditionOf("alice", v1alpha1.ConditionHoldBroken); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "worker-1-0") {
			t.Fatalf("HoldBroken is %s: %s", c.Status, c.Message)
		}
		if n := told(recorder, "HoldBroken"); n != 2 {
			t.Errorf("told %d times, want once on the session and once on the workload", n)
		}
		w.drive(operator, "alice", "ready again", func() bool { return w.isReady("alice") && len(w.podsOf(set)) == 0 })
	}
}
