package session

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func (w *world) end(r *Reconciler, name string) {
	w.t.Helper()
	w.must(w.Delete(w.ctx, w.session(name)))
	w.drive(r, name, "the session is gone", func() bool { return w.session(name) == nil })
}

// Without the gate a stranger's number starts pods: the session says so until
// they have ended, and puts that number back.
func TestStrangerWithoutGate(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	w.scale("worker", 5, "kubectl")
	w.until("pods run", func() bool { w.play(); return w.running("worker") == 5 })
	w.must(w.reconcile(operator, "alice"))
	if c := w.conditionOf("alice", v1alpha1.ConditionHoldBroken); c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "kubectl") {
		t.Errorf("HoldBroken is %s: %s", c.Status, c.Message)
	}
	if w.isReady("alice") {
		t.Error("ready while pods run")
	}
	w.drive(operator, "alice", "ready again", func() bool { return w.isReady("alice") })
	if c := w.conditionOf("alice", v1alpha1.ConditionHoldBroken); c.Status != metav1.ConditionFalse {
		t.Errorf("HoldBroken is still %s", c.Status)
	}
	if r := w.session("alice").Status.Record; r.Replicas != 5 || r.ChangedBy != "kubectl" {
		t.Errorf("recorded %+v", r)
	}
	w.end(operator, "alice")
	if n := *w.deployment("worker").Spec.Replicas; n != 5 {
		t.Errorf("%d replicas, want the stranger's 5", n)
	}
}

// A GitOps tool that heals by itself, on the server's side and on the client's:
// it starts nothing, is named with what to set, and its number comes back.
func TestGitOpsContends(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	operator := w.held(3)
	heal := map[string]func(){
		"server-side": func() {
			d := deployment(w.namespace, "worker")
			d.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "shop:apps/Deployment:x/worker"}
			d.Spec.Replicas = ptr.To(int32(4))
			data, err := json.Marshal(d)
			w.must(err)
			w.must(w.Patch(w.ctx, d, client.RawPatch("application/apply-patch+yaml", data), client.FieldOwner("argocd-controller"), client.ForceOwnership))
		},
		"client-side": func() {
			d := w.deployment("worker")
			d.Spec.Replicas = ptr.To(int32(4))
			w.must(w.Update(w.ctx, d, client.FieldOwner("argocd-controller")))
		},
	}
	for _, way := range []string{"server-side", "client-side", "server-side", "client-side"} {
		heal[way]()
		w.drive(operator, "alice", "it is at zero again", func() bool { return *w.deployment("worker").Spec.Replicas == 0 })
		if n := w.running("worker"); n != 0 {
			t.Errorf("%s: %d pods run", way, n)
		}
	}
	c := w.conditionOf("alice", v1alpha1.ConditionContended)
	if c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, "Argo CD (application shop)") || !strings.Contains(c.Message, "ignoreDifferences") {
		t.Errorf("Contended is %s: %s", c.Status, c.Message)
	}
	w.end(operator, "alice")
	if n := *w.deployment("worker").Spec.Replicas; n != 4 {
		t.Errorf("%d replicas, want the 4 of Git", n)
	}
}

func TestClaimStrippedOff(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	strip := func(value *string) {
		d := w.deployment("worker")
		delete(d.Annotations, v1alpha1.ClaimAnnotation)
		if value != nil {
			d.Annotations[v1alpha1.ClaimAnnotation] = *value
		}
		w.must(w.Update(w.ctx, d))
	}
	for _, value := range []*string{nil, ptr.To("{"), ptr.To(`{"replicas":1}`)} {
		strip(value)
		w.must(w.reconcile(operator, "alice"))
		if w.deployment("worker").Annotations[v1alpha1.ClaimAnnotation] == "" {
			t.Error("the claim is not put on again")
		}
	}
	// And when it is stripped at the very end, the status still remembers.
	for round, value := range []*string{nil, ptr.To("{")} {
		name := []string{"alice", "bob"}[round]
		if round > 0 {
			w.ask(name, "worker")
		}
		w.drive(operator, name, "ready", func() bool { return w.isReady(name) })
		strip(value)
		w.end(operator, name)
		if n := *w.deployment("worker").Spec.Replicas; n != 3 {
			t.Fatalf("%d replicas, want 3", n)
		}
		if left := w.leftovers("worker"); len(left) > 0 {
			t.Errorf("left over: %q", left)
		}
		w.until("pods are back", func() bool { w.play(); return w.running("worker") == 3 })
	}
}

// An original of zero is held like any number, and comes back as zero.
func TestZeroIsANumber(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 0)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.end(operator, "alice")
	w.checkSame(before, w.deployment("worker"))
}

// Who asks for zero while it is at zero anyway gets zero at the end, if there is
// a trace of it: a new owner of the number.
func TestSomebodyAsksForZero(t *testing.T) {
	zero := func(w *world) {
		d := deployment(w.namespace, "worker")
		d.Spec.Replicas = ptr.To(int32(0))
		w.must(w.apply(d, "pipeline"))
	}
	for name, when := range map[string]func(*world, *Reconciler){
		"before the hold": func(w *world, r *Reconciler) {
			w.noStart = true
			w.drive(r, "alice", "it is claimed", func() bool { return w.conditionOf("alice", v1alpha1.ConditionClaimed).Status == metav1.ConditionTrue })
			w.scale("worker", 0, "kubectl")
			w.noStart = false
			w.drive(r, "alice", "ready", func() bool { return w.isReady("alice") })
		},
		"during the hold": func(w *world, r *Reconciler) {
			w.drive(r, "alice", "ready", func() bool { return w.isReady("alice") })
			zero(w)
			w.drive(r, "alice", "it is recorded", func() bool { return w.session("alice").Status.Record.ChangedBy == "pipeline" })
		},
		"at the last moment": func(w *world, r *Reconciler) {
			w.drive(r, "alice", "ready", func() bool { return w.isReady("alice") })
			zero(w)
		},
		"by way of another number": func(w *world, r *Reconciler) {
			w.drive(r, "alice", "ready", func() bool { return w.isReady("alice") })
			w.scale("worker", 5, "kubectl")
			w.scale("worker", 0, "kubectl")
			w.must(w.reconcile(r, "alice"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.gate = true
			w.deploy("worker", 3)
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			when(w, operator)
			w.end(operator, "alice")
			if n := *w.deployment("worker").Spec.Replicas; n != 0 {
				t.Errorf("%d replicas, want the 0 that was asked for", n)
			}
			if left := w.leftovers("worker"); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

func TestWorkloadDeleted(t *testing.T) {
	w := newWorld(t)
	operator := w.held(3)
	w.must(w.Delete(w.ctx, w.deployment("worker"), client.PropagationPolicy(metav1.DeletePropagationBackground)))
	w.must(w.reconcile(operator, "alice"))
	if c := w.conditionOf("alice", v1alpha1.ConditionHeld); c.Reason != v1alpha1.ReasonWorkloadGone {
		t.Errorf("Held is %s, %s", c.Status, c.Reason)
	}

	// Made anew by the team's pipeline: held again, with its own number.
	w.must(w.team("worker", 4))
	w.drive(operator, "alice", "the new one is held", func() bool {
		return *w.deployment("worker").Spec.Replicas == 0 && w.isReady("alice") && w.running("worker") == 0
	})
	if r := w.session("alice").Status.Record; r.Replicas != 4 || r.UID != w.deployment("worker").UID {
		t.Errorf("recorded %+v", r)
	}
	w.end(operator, "alice")
	if n := *w.deployment("worker").Spec.Replicas; n != 4 {
		t.Errorf("%d replicas, want 4", n)
	}

	// Deleted and not made anew: the session ends all the same.
	w.until("pods are back", func() bool { w.play(); return w.running("worker") == 4 })
	w.ask("bob", "worker")
	w.drive(operator, "bob", "ready", func() bool { return w.isReady("bob") })
	w.must(w.Delete(w.ctx, w.deployment("worker")))
	w.end(operator, "bob")
}

// A pod on a node that is not Ready is named, and never taken for ended.
func TestOldPodUnconfirmed(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	node := w.ownNode()
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	old := w.onlyPod("worker")
	w.deaf[old.Name] = true
	w.drive(operator, "alice", "it waits for the old pod", func() bool {
		c := w.conditionOf("alice", v1alpha1.ConditionReady)
		return c.Reason == v1alpha1.ReasonOldPodsRunning && strings.Contains(c.Message, old.Name)
	})
	// Its node is cut off; somebody deletes the pod by force.
	node(corev1.ConditionUnknown)
	w.must(w.Delete(w.ctx, &old, client.GracePeriodSeconds(0)))
	w.drive(operator, "alice", "the pod is named", func() bool {
		c := w.conditionOf("alice", v1alpha1.ConditionReady)
		return c.Status == metav1.ConditionFalse && c.Reason == v1alpha1.ReasonOldPodUnconfirmed && strings.Contains(c.Message, old.Name)
	})
	// The node's return is no proof of what it did meanwhile.
	node(corev1.ConditionTrue)
	for range 3 {
		w.must(w.reconcile(operator, "alice"))
	}
	if w.isReady("alice") {
		t.Error("ready, and nobody knows whether the old pod ended")
	}
	w.clock = w.clock.Add(time.Hour)
	w.drive(operator, "alice", "rolled back", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonSetupDeadlineExceeded)
	if n := *w.deployment("worker").Spec.Replicas; n != 1 {
		t.Errorf("%d replicas, want 1", n)
	}
}

// ownNode makes the world's pods run on a node that no other test touches.
func (w *world) ownNode() func(corev1.ConditionStatus) {
	w.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"}}
	w.must(w.Create(w.ctx, node))
	set := func(status corev1.ConditionStatus) {
		w.must(w.Get(w.ctx, client.ObjectKeyFromObject(node), node))
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		w.must(w.Status().Update(w.ctx, node))
	}
	set(corev1.ConditionTrue)
	w.node = node.Name
	var pods corev1.PodList
	w.must(w.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(w.namespace), client.GracePeriodSeconds(0)))
	w.until("the pods are on the node", func() bool {
		w.play()
		w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace)))
		return len(pods.Items) > 0 && pods.Items[0].Status.Phase == corev1.PodRunning
	})
	return set
}

func (w *world) onlyPod(app string) corev1.Pod {
	w.t.Helper()
	var pods corev1.PodList
	w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app": app}))
	if len(pods.Items) != 1 {
		w.t.Fatalf("%d pods, want 1", len(pods.Items))
	}
	return pods.Items[0]
}

// A pod that is removed by force on a healthy node leaves no proof either: the
// watch saw that its container ran to the last.
func TestRemovedByForce(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	operator.Pods = NewPodWatches(w.WithWatch)
	ctx, cancel := context.WithCancel(w.ctx)
	stopped := make(chan error)
	go func() { stopped <- operator.Pods.Start(ctx) }()
	old := w.onlyPod("worker")
	w.deaf[old.Name] = true
	key := client.ObjectKey{Namespace: w.namespace, Name: "alice"}
	w.drive(operator, "alice", "it waits for the old pod and watches it", func() bool {
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonOldPodsRunning && len(operator.Pods.Merge(key, nil)) == 1
	})
	w.must(w.Delete(w.ctx, &old, client.GracePeriodSeconds(0)))
	for deadline := time.After(30 * time.Second); operator.Pods.Last(key, old.UID) == nil; {
		select {
		case <-operator.Pods.Wake:
		case <-deadline:
			t.Fatal("the watch did not see the pod go")
		}
	}
	w.must(w.reconcile(operator, "alice"))
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonOldPodUnconfirmed || !strings.Contains(c.Message, "by force") {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "gone", func() bool { return w.session("alice") == nil })
	cancel()
	w.must(<-stopped)
}

// The stand-in's node is cut off while the session ends: the workload comes
// back after the lease and a margin, not before.
func TestStandInUnreachable(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.deaf["alice-standin-1"] = true
	w.must(w.Delete(w.ctx, w.session("alice")))
	for range 3 {
		w.play()
		w.must(w.reconcile(operator, "alice"))
	}
	if *w.deployment("worker").Spec.Replicas != 0 || w.conditionOf("alice", v1alpha1.ConditionRestored).Reason != v1alpha1.ReasonStandInEnding {
		t.Fatalf("back although the stand-in runs: %+v", w.conditionOf("alice", v1alpha1.ConditionRestored))
	}
	w.clock = w.clock.Add(v1alpha1.DefaultLeaseDuration + agentMargin - 5*time.Second)
	w.must(w.reconcile(operator, "alice"))
	if *w.deployment("worker").Spec.Replicas != 0 {
		t.Fatal("back before the agent has closed by itself")
	}
	w.clock = w.clock.Add(10 * time.Second)
	w.drive(operator, "alice", "gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}

// A copy leaves the workload alone.
func TestCopy(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.Takeover = v1alpha1.TakeoverCopy })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	if c := w.conditionOf("alice", v1alpha1.ConditionRecorded); c.Reason != v1alpha1.ReasonNotNeeded {
		t.Errorf("Recorded is %s, %s", c.Status, c.Reason)
	}
	if now := w.deployment("worker"); now.ResourceVersion != before.ResourceVersion {
		w.checkSame(before, now)
		t.Error("the workload was written to")
	}
	w.end(operator, "alice")
	if n := w.running("worker"); n != 3 {
		t.Errorf("%d pods run, want 3", n)
	}
}

// A hold waits for the rollout to end.
func TestRolloutIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	d := w.deployment("worker")
	d.Status.UpdatedReplicas = 1
	w.must(w.Status().Update(w.ctx, d))
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.until("it waits for the rollout", func() bool {
		w.playKubelet()
		w.must(w.reconcile(operator, "alice"))
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonRolloutInProgress
	})
	if *w.deployment("worker").Spec.Replicas != 3 {
		t.Error("held halfway")
	}
	d = w.deployment("worker")
	d.Status.UpdatedReplicas = 3
	w.must(w.Status().Update(w.ctx, d))
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
}
