package session

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// `kubectl delete session --cascade=orphan` takes the owner off everything that
// was made for it. All of it goes nevertheless, the stand-in before the workload
// is back.
func TestDependentsOrphaned(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	key := func(name string) client.ObjectKey { return client.ObjectKey{Namespace: w.namespace, Name: name} }
	made := map[string]client.Object{
		"alice-standin-1": &corev1.Pod{}, "alice-agent-1": &corev1.Secret{}, "understudy-alice": &rbacv1.Role{}, "alice": &coordinationv1.Lease{},
	}
	for name, object := range made {
		w.must(w.Get(w.ctx, key(name), object))
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"ownerReferences":null}}`))
		w.must(w.Patch(w.ctx, object, patch))
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("the session is gone", func() bool {
		w.play()
		w.must(w.reconcile(operator, "alice"))
		standIn := &corev1.Pod{}
		if err := w.Get(w.ctx, key("alice-standin-1"), standIn); err == nil && containerRuns(standIn, "worker") && *w.deployment("worker").Spec.Replicas != 0 {
			t.Fatal("the workload is back while the stand-in runs")
		}
		return w.session("alice") == nil
	})
	for name, object := range made {
		w.until(name+" is gone", func() bool {
			w.play()
			return w.Get(w.ctx, key(name), object) != nil
		})
	}
}

// Deleted between two lines, before the finalizer is on: no error, nothing made.
func TestDeletedBeforeEnlisted(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	session := w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	v := newVisit(operator, w.session("alice"))
	w.must(w.Delete(w.ctx, session))
	if err := v.run(w.ctx); err == nil || !v.gone {
		t.Errorf("a session that is gone is worked on: %v", err)
	}
	w.must(w.reconcile(operator, "alice"))
}

// The pods of a workload that was deleted are still waited for when one of the
// same name is made and held: they read the same queue.
func TestOldPodsOfDeletedWorkload(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.scale("worker", 1, "kubectl")
	w.until("a pod runs", func() bool { w.play(); return w.running("worker") == 1 })
	old := w.onlyOld("worker")
	w.deaf[old.Name] = true
	w.drive(operator, "alice", "it waits for that pod", func() bool {
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonOldPodsRunning
	})
	w.must(w.Delete(w.ctx, w.deployment("worker"), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.must(w.team("worker", 1))
	w.drive(operator, "alice", "the new one is held", func() bool {
		record := w.session("alice").Status.Record
		return record.UID == w.deployment("worker").UID && w.conditionOf("alice", v1alpha1.ConditionHeld).Status == metav1.ConditionTrue
	})
	for range 5 {
		w.play()
		w.must(w.reconcile(operator, "alice"))
		if w.isReady("alice") {
			t.Fatal("ready while the deleted workload's pod runs")
		}
	}
	if !slices.ContainsFunc(w.session("alice").Status.OldPods, func(o v1alpha1.OldPod) bool { return o.UID == old.UID }) {
		t.Errorf("it is no longer asked for: %+v", w.session("alice").Status.OldPods)
	}
	// The garbage collector comes to it, and the kubelet.
	w.must(w.Delete(w.ctx, &old))
	delete(w.deaf, old.Name)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
}

// onlyOld is the workload's only pod, beside the stand-in.
func (w *world) onlyOld(app string) corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app": app}))
	old := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.Labels[v1alpha1.SessionLabel] != "" })
	if len(old) != 1 {
		w.t.Fatalf("%d pods, want 1", len(old))
	}
	return old[0]
}

// Another workload's pods that the same selector finds are nobody's concern,
// however they end.
func TestOverlappingSelector(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	operator.Pods = NewPodWatches(w.WithWatch)
	ctx, cancel := context.WithCancel(w.ctx)
	stopped := make(chan error)
	go func() { stopped <- operator.Pods.Start(ctx) }()
	defer func() { cancel(); w.must(<-stopped) }()
	old := w.onlyPod("worker")
	w.deaf[old.Name] = true
	key := client.ObjectKey{Namespace: w.namespace, Name: "alice"}
	w.drive(operator, "alice", "it watches", func() bool { return len(operator.Pods.Merge(key, nil)) == 1 })
	other := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.namespace, Name: "other-0", Labels: map[string]string{"app": "worker"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "other", UID: "other", Controller: ptr.To(true)}},
	}, Spec: *old.Spec.DeepCopy()}
	w.must(w.Create(w.ctx, other))
	w.until("it runs", func() bool { w.play(); return w.ran["other-0"] })
	w.must(w.Delete(w.ctx, other, client.GracePeriodSeconds(0)))
	for deadline := time.After(30 * time.Second); operator.Pods.Last(key, other.UID) == nil; {
		select {
		case <-operator.Pods.Wake:
		case <-deadline:
			t.Fatal("the watch did not see the pod go")
		}
	}
	w.must(w.reconcile(operator, "alice"))
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); strings.Contains(c.Message, "other-0") {
		t.Errorf("waits for another workload's pod: %s", c.Message)
	}
	delete(w.deaf, old.Name)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
}

// A pod that was evicted long ago and is still there breaks no hold.
func TestEvictedPodBreaksNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	evicted := w.onlyPod("worker")
	w.setPod(&evicted, corev1.PodFailed, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "Evicted"}})
	w.deaf[evicted.Name] = true
	// It was made before the hold: by more than the second that times have.
	w.clock = w.clock.Add(10 * time.Second)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.must(w.Delete(w.ctx, w.stand("alice")))
	w.drive(operator, "alice", "ready again", func() bool { a := w.session("alice").Status.Agent; return a.Incarnation == 2 && w.isReady("alice") })
	if c := w.conditionOf("alice", v1alpha1.ConditionHoldBroken); c.Type != "" {
		t.Errorf("HoldBroken is %s: %s", c.Status, c.Message)
	}
}
