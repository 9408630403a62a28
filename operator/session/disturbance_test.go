package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/csaupgrade"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
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
// evidence of it: it was not at our zero any more.
func TestSomebodyAsksForZero(t *testing.T) {
	write := func(w *world, replicas int32) {
		d := w.deployment("worker")
		d.Spec.Replicas = ptr.To(replicas)
		w.must(w.Update(w.ctx, d, client.FieldOwner("kubectl-edit")))
	}
	edit := func(w *world) {
		write(w, 5)
		write(w, 0)
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
			edit(w)
			w.drive(r, "alice", "it is recorded", func() bool { return w.session("alice").Status.Record.ChangedBy == "kubectl-edit" })
		},
		"at the last moment": func(w *world, r *Reconciler) {
			w.drive(r, "alice", "ready", func() bool { return w.isReady("alice") })
			edit(w)
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

// Who applies the zero that it is held at, on the server's side, owns it beside the
// others and has not asked for it: he may have copied it from the object. The number
// is kept, it is said once, and the ownership of everybody comes back.
func TestOurZeroIsApplied(t *testing.T) {
	// What is in Git, or in the file, without a number of its own.
	copied := func(w *world) *appsv1.Deployment {
		d := deployment(w.namespace, "worker")
		d.Spec.Replicas = w.deployment("worker").Spec.Replicas
		return d
	}
	for name, c := range map[string]struct {
		// before the session.
		before func(*world)
		apply  func(*world)
		// unseen lets the session end before the operator has looked.
		unseen bool
		number int32
		who    string
		owners []string
	}{
		// With ServerSideApply=true, ignoreDifferences on /spec/replicas and
		// RespectIgnoreDifferences=true, under an autoscaler.
		"Argo CD that ignores the number": {
			before: func(w *world) { w.scale("worker", 4, "kube-controller-manager") },
			apply: func(w *world) {
				d := copied(w)
				d.Spec.Template.Spec.Containers[0].Image = "registry.example/worker:2"
				w.must(w.apply(d, "argocd-controller", client.ForceOwnership))
			},
			number: 4, who: "Argo CD", owners: []string{"argocd-controller", "kube-controller-manager"},
		},
		"a pipeline": {
			apply:  func(w *world) { w.must(w.apply(copied(w), "pipeline")) },
			number: 3, who: "pipeline", owners: []string{"pipeline", "team"},
		},
		"at the last moment": {
			apply: func(w *world) { w.must(w.apply(copied(w), "pipeline")) }, unseen: true,
			number: 3, owners: []string{"team"},
		},
		// kubectl makes the entry of the client-side apply into that of the other.
		"kubectl get, and kubectl apply --server-side": {
			before: func(w *world) { w.must(csaOnly(w)) },
			apply: func(w *world) {
				w.must(w.apply(copied(w), "kubectl"))
				d := w.deployment("worker")
				before := d.DeepCopy()
				w.must(csaupgrade.UpgradeManagedFields(d, sets.New("kubectl-client-side-apply"), "kubectl"))
				w.must(w.Patch(w.ctx, d, client.MergeFrom(before)))
			},
			number: 3, who: "kubectl", owners: []string{"kubectl"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.gate = true
			w.deploy("worker", 3)
			if c.before != nil {
				c.before(w)
			}
			w.until("its pods run", func() bool {
				w.play()
				return w.running("worker") == int(c.number) && w.deployment("worker").Status.ObservedGeneration == w.deployment("worker").Generation
			})
			w.ask("alice", "worker")
			operator := w.operator(w.WithWatch)
			said := events.NewFakeRecorder(1000)
			operator.Events = said
			w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
			c.apply(w)
			for range 3 {
				if !c.unseen {
					w.play()
					w.must(w.reconcile(operator, "alice"))
				}
			}
			w.end(operator, "alice")
			d := w.deployment("worker")
			if *d.Spec.Replicas != c.number {
				t.Errorf("it comes back at %d, not %d", *d.Spec.Replicas, c.number)
			}
			var owners []string
			for _, owner := range ownership.Owners(d.ManagedFields, hold.Deployment{}.Field()) {
				owners = append(owners, owner.Manager)
			}
			slices.Sort(owners)
			if diff := cmp.Diff(c.owners, owners); diff != "" {
				t.Errorf("owners of the number (-want +got):\n%s", diff)
			}
			close(said.Events)
			var told []string
			for event := range said.Events {
				if strings.Contains(event, "ZeroApplied") && strings.Contains(event, "Session alice") {
					told = append(told, event)
				}
			}
			if c.unseen {
				return
			}
			if want := fmt.Sprintf("%s has applied zero replicas, which is what the session holds it at; %d replicas will be put back", c.who, c.number); len(told) != 1 || !strings.Contains(told[0], want) {
				t.Errorf("told: %q, want once %q", told, want)
			}
		})
	}
}

// csaOnly has the workload as `kubectl apply` makes it.
func csaOnly(w *world) error {
	d := w.deployment("worker")
	for i := range d.ManagedFields {
		if d.ManagedFields[i].Manager == "team" {
			d.ManagedFields[i].Manager, d.ManagedFields[i].Operation = "kubectl-client-side-apply", metav1.ManagedFieldsOperationUpdate
		}
	}
	return w.Update(w.ctx, d, client.FieldOwner("kubectl-client-side-apply"))
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
