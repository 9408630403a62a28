package session

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// onlyPod is a frozenWorld whose pod is the only one of the deployment worker.
func onlyPod(t *testing.T) *frozenWorld {
	t.Helper()
	w := newWorld(t)
	w.deploy("worker", 0)
	f := newFrozenWorld(w, func(pod *corev1.Pod) { pod.OwnerReferences = controlledBySet(w.set("worker-1")) })
	w.scale("worker", 1, "team")
	f.until("the number is one", func() bool { w.play(); return *w.set("worker-1").Spec.Replicas == 1 })
	return f
}

func (w *world) set(name string) *appsv1.ReplicaSet {
	w.t.Helper()
	set := &appsv1.ReplicaSet{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, set))
	return set
}

func controlledBySet(set *appsv1.ReplicaSet) []metav1.OwnerReference {
	return []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
}

// another is a pod beside the frozen one, which looks as it does.
func (f *frozenWorld) another(name string, owners []metav1.OwnerReference, changes ...func(*corev1.Pod)) *corev1.Pod {
	f.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name, Labels: map[string]string{"app": "worker"}, OwnerReferences: owners}, Spec: *f.target().Spec.DeepCopy()}
	for _, change := range changes {
		change(pod)
	}
	f.must(f.Create(f.ctx, pod))
	return pod
}

// later waits until what is made now is younger than the object by so much, by the API
// server's clock.
func (f *frozenWorld) later(by time.Duration, than client.Object) {
	f.t.Helper()
	for deadline := time.After(by + 30*time.Second); ; {
		now := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "clock"}}
		f.must(f.Create(f.ctx, now, client.DryRunAll))
		if now.CreationTimestamp.Sub(than.GetCreationTimestamp().Time) > by {
			return
		}
		select {
		case <-deadline:
			f.t.Fatal("the API server's clock stands still")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// surge is a pod of another ReplicaSet of the same deployment.
func (f *frozenWorld) surge() {
	f.t.Helper()
	set := f.set("worker-1").DeepCopy()
	set.ObjectMeta = metav1.ObjectMeta{Namespace: f.namespace, Name: "worker-2", Labels: set.Labels, OwnerReferences: set.OwnerReferences}
	set.Spec.Replicas = ptr.To(int32(1))
	f.must(f.Create(f.ctx, set))
	f.another("worker-2-surge", controlledBySet(set))
}

// Whatever brings another pod of the workload ends the session, with its name and
// whose doing that is; before it was ready, too.
func TestFrozenPodRemainsAlone(t *testing.T) {
	for name, test := range map[string]struct {
		during func(*frozenWorld)
		says   []string
		mute   bool
	}{
		"its number is raised": {
			during: func(f *frozenWorld) { f.scale("worker", 2, "kubectl-scale"); f.play() },
			says:   []string{"pod worker-1-", "deployment worker", "its number is 2 now, last written by kubectl-scale", "--copy-target --scale-down"},
		},
		"its number is raised before it is frozen": {
			mute:   true,
			during: func(f *frozenWorld) { f.scale("worker", 3, "kubectl-scale"); f.play() },
			says:   []string{"pods worker-1-", "deployment worker", "its number is 3 now"},
		},
		"a rollout begins": {
			during: (*frozenWorld).surge,
			says:   []string{"pod worker-2-surge", "frozen pod worker of deployment worker"},
		},
		"its deployment was made anew around it": {
			during: func(f *frozenWorld) {
				f.must(f.Delete(f.ctx, f.deployment("worker"), client.PropagationPolicy(metav1.DeletePropagationOrphan)))
				f.must(f.team("worker", 1))
				set := f.set("worker-1")
				set.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(f.deployment("worker"), appsv1.SchemeGroupVersion.WithKind("Deployment"))}
				f.must(f.Update(f.ctx, set))
				f.surge()
			},
			says: []string{"pod worker-2-surge"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := onlyPod(t)
			f.mute = test.mute
			f.askFreeze("alice")
			operator := f.freezer(f.WithWatch)
			f.driveNode(operator, "alice", "the agent is there", func() bool {
				return f.isReady("alice") || test.mute && len(f.agentPods()) > 0 && f.agentPods()[0].Status.Phase == corev1.PodRunning
			})
			if only := f.session("alice").Status.Frozen.OnlyOf; only == nil || only.Kind != "Deployment" || only.UID != f.deployment("worker").UID {
				t.Fatalf("it is recorded as the only one of %+v", only)
			}
			test.during(f)
			f.mute = false
			f.driveNode(operator, "alice", "it is put back", func() bool {
				return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
			})
			ready := f.conditionOf("alice", v1alpha1.ConditionReady)
			if ready.Reason != v1alpha1.ReasonTargetNotAlone {
				t.Errorf("it ended with %s: %s", ready.Reason, ready.Message)
			}
			for _, says := range test.says {
				if !strings.Contains(ready.Message, says) {
					t.Errorf("it does not say %q: %s", says, ready.Message)
				}
			}
			if at := f.session("alice").Status.ReadyAt; test.mute && at != nil {
				t.Errorf("it was said to be ready at %s", at)
			}
			f.checkThawed()
		})
	}
}

// Of a controller that nobody knows its UID is enough.
func TestFrozenPodOfAnUnknownKind(t *testing.T) {
	farm := []metav1.OwnerReference{{APIVersion: "example.com/v1", Kind: "Farm", Name: "north", UID: types.UID("farm-of-the-north"), Controller: ptr.To(true)}}
	f := newFrozenWorld(newWorld(t), func(pod *corev1.Pod) { pod.OwnerReferences = farm })
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	f.another("second", farm, func(pod *corev1.Pod) { pod.Labels = nil })
	f.driveNode(operator, "alice", "it is put back", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
	})
	if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonTargetNotAlone || !strings.Contains(ready.Message, "pod second has come beside the frozen pod worker of farm north,") {
		t.Errorf("it ended with %s: %s", ready.Reason, ready.Message)
	}
}

// Others that are no reason to end it.
func TestFrozenPodKeepsCompany(t *testing.T) {
	f := onlyPod(t)
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	owners := f.target().OwnerReferences
	f.another("bare", nil)
	f.another("stand-in", owners, func(pod *corev1.Pod) { pod.Labels[v1alpha1.SessionLabel] = "bob" })
	ended := f.another("ended", owners)
	ended.Status.Phase = corev1.PodFailed
	f.must(f.Status().Update(f.ctx, ended))
	f.must(f.Delete(f.ctx, f.another("on-its-way-out", owners)))
	stranger := deployment(f.namespace, "stranger")
	f.must(f.apply(stranger, "team"))
	f.another("stranger", []metav1.OwnerReference{*metav1.NewControllerRef(stranger, appsv1.SchemeGroupVersion.WithKind("Deployment"))})
	for range 3 {
		f.must(f.reconcile(operator, "alice"))
	}
	if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Status != metav1.ConditionTrue {
		t.Errorf("it ended with %s: %s", ready.Reason, ready.Message)
	}
}

// Whoever names one of several pods has that one; so has who attaches, and a session
// that was recorded when nobody looked.
func TestFrozenPodThatWasNotAlone(t *testing.T) {
	t.Parallel()
	f := onlyPod(t)
	f.later(countedWithin, f.another("older", f.target().OwnerReferences))
	f.askFreeze("alice")
	f.askAttach("bob")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	if only := f.session("alice").Status.Frozen.OnlyOf; only != nil {
		t.Errorf("it is recorded as the only one of %+v", only)
	}
	f.another("younger", f.target().OwnerReferences)
	f.must(f.reconcile(operator, "alice"))
	if !f.isReady("alice") {
		t.Errorf("it ended with %+v", f.conditionOf("alice", v1alpha1.ConditionReady))
	}
	f.must(f.Delete(f.ctx, f.session("alice")))
	f.driveNode(operator, "alice", "it is gone", func() bool { return f.session("alice") == nil })
	f.must(f.Delete(f.ctx, f.session("bob")))
	f.driveNode(operator, "bob", "it is gone", func() bool { return f.session("bob") == nil })
	f.askAttach("carol")
	f.driveNode(operator, "carol", "it is ready", func() bool { return f.isReady("carol") })
	if only := f.session("carol").Status.Frozen.OnlyOf; only != nil {
		t.Errorf("one that attaches is recorded as the only one of %+v", only)
	}
}

// One that came while the session was asked for, or before the operator looked, is not
// one that was there.
func TestFrozenPodThatWasAlone(t *testing.T) {
	for name, before := range map[string]bool{"just before": true, "just after": false} {
		t.Run(name, func(t *testing.T) {
			f := onlyPod(t)
			if before {
				f.another("younger", f.target().OwnerReferences)
			}
			f.askFreeze("alice")
			if !before {
				f.another("younger", f.target().OwnerReferences)
			}
			operator := f.freezer(f.WithWatch)
			f.driveNode(operator, "alice", "it is put back", func() bool {
				return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
			})
			if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonTargetNotAlone || f.froze != 0 {
				t.Errorf("it was frozen %d times, and ended with %s: %s", f.froze, ready.Reason, ready.Message)
			}
		})
	}
}

// A status of before has no word of it.
func TestFrozenPodOfAnOlderRecord(t *testing.T) {
	f := onlyPod(t)
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	session := f.session("alice")
	session.Status.Frozen.OnlyOf = nil
	f.must(f.Status().Update(f.ctx, session))
	f.another("second", f.target().OwnerReferences)
	f.must(f.reconcile(operator, "alice"))
	if !f.isReady("alice") {
		t.Errorf("it ended with %+v", f.conditionOf("alice", v1alpha1.ConditionReady))
	}
}

// scaledBy reads as if there were KEDA, and a ScaledObject of each of these names that
// scales a deployment of the same.
type scaledBy struct {
	client.Reader
	names []string
}

func (r scaledBy) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	found, ok := list.(*unstructured.UnstructuredList)
	if !ok || found.GetKind() != "ScaledObjectList" {
		return r.Reader.List(ctx, list, options...)
	}
	for _, name := range r.names {
		found.Items = append(found.Items, unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"scaleTargetRef": map[string]any{"name": name}},
		}})
	}
	return nil
}

// What may bring another pod is said before it does.
func TestFrozenPodMayBeScaled(t *testing.T) {
	f := onlyPod(t)
	f.askFreeze("alice")
	operator, recorder := f.freezer(f.WithWatch), events.NewFakeRecorder(100)
	operator.Live, operator.Events = scaledBy{f.WithWatch, []string{"worker", "mailer"}}, recorder
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	close(recorder.Events)
	var said []string
	for event := range recorder.Events {
		if strings.Contains(event, "FreezeScaled") {
			said = append(said, event)
		}
	}
	if len(said) != 1 || !strings.Contains(said[0], "ScaledObject worker may give deployment worker more pods") {
		t.Errorf("it is said: %q", said)
	}
}

// The pod's own end is why the session ends, not the one that comes in its place.
func TestFrozenPodIsReplaced(t *testing.T) {
	f := onlyPod(t)
	f.askFreeze("alice")
	operator := f.freezer(f.WithWatch)
	f.driveNode(operator, "alice", "it is ready", func() bool { return f.isReady("alice") })
	f.must(f.Delete(f.ctx, f.target()))
	f.play()
	f.driveNode(operator, "alice", "it is put back", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue
	})
	if ready := f.conditionOf("alice", v1alpha1.ConditionReady); ready.Reason != v1alpha1.ReasonTargetEnded {
		t.Errorf("it ended with %s: %s", ready.Reason, ready.Message)
	}
}

// With its watches the operator is woken by another pod, long before it would have
// looked by itself.
func TestWokenByAnotherPod(t *testing.T) {
	f := onlyPod(t)
	f.start(f.agents)
	// The longer the lease is, the less an operator looks that has just started.
	f.askFreeze("alice", func(spec *v1alpha1.SessionSpec) { spec.LeaseDurationSeconds = 3600 })
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !holds(); f.playNode() {
			if time.Now().After(deadline) {
				f.dump()
				t.Fatalf("never happened: %s", what)
			}
		}
	}
	eventually("it is ready", func() bool { return f.isReady("alice") })
	f.scale("worker", 2, "kubectl-scale")
	f.play()
	began := time.Now()
	eventually("it ends", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonTargetNotAlone
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s, as if nobody had watched", took)
	} else {
		t.Logf("it took %s", took)
	}
	eventually("it is thawed", func() bool {
		return f.conditionOf("alice", v1alpha1.ConditionRestored).Status == metav1.ConditionTrue && len(f.leftOnNode()) == 0
	})
	f.checkThawed()
}
