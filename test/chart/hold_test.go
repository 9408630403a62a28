package chart

import (
	"context"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

const otherUID types.UID = "9e3f4f1c-35a5-4b53-9d0f-6b5e8b8c8c02"

// The ways to write a ReplicaSet's number that a stranger and the cluster have.
var writings = map[string]func(context.Context, client.Client, *appsv1.ReplicaSet) (int32, error){
	"create": func(ctx context.Context, c client.Client, set *appsv1.ReplicaSet) (int32, error) {
		again := replicaSet(set.Namespace, set.Name+"again", "worker", "", 5)
		again.OwnerReferences = set.OwnerReferences
		err := c.Create(ctx, again, client.DryRunAll)
		return *again.Spec.Replicas, err
	},
	"update": func(ctx context.Context, c client.Client, set *appsv1.ReplicaSet) (int32, error) {
		five := int32(5)
		set.Spec.Replicas = &five
		err := c.Update(ctx, set, client.DryRunAll)
		return *set.Spec.Replicas, err
	},
	"patch": func(ctx context.Context, c client.Client, set *appsv1.ReplicaSet) (int32, error) {
		err := c.Patch(ctx, set, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":5}}`)), client.DryRunAll)
		return *set.Spec.Replicas, err
	},
	"patch of the scale": func(ctx context.Context, c client.Client, set *appsv1.ReplicaSet) (int32, error) {
		scale := &autoscalingv1.Scale{}
		err := c.SubResource("scale").Patch(ctx, set, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":5}}`)),
			client.WithSubResourceBody(scale), client.DryRunAll)
		return scale.Spec.Replicas, err
	},
	"update of the scale": func(ctx context.Context, c client.Client, set *appsv1.ReplicaSet) (int32, error) {
		scale := &autoscalingv1.Scale{
			ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: set.Name},
			Spec:       autoscalingv1.ScaleSpec{Replicas: 5},
		}
		err := c.SubResource("scale").Update(ctx, set, client.WithSubResourceBody(scale), client.DryRunAll)
		return scale.Spec.Replicas, err
	},
}

func TestHoldGate(t *testing.T) {
	s := installed(t)
	held := func(m *v1alpha1.Session) {
		m.Status.Conditions = []metav1.Condition{
			condition(v1alpha1.ConditionClaimed, metav1.ConditionTrue),
			condition(v1alpha1.ConditionHeld, metav1.ConditionTrue),
		}
	}
	for _, test := range []struct {
		name     string
		takeover v1alpha1.Takeover
		status   func(*v1alpha1.Session)
		set      func(ns string, uid types.UID) *appsv1.ReplicaSet
		gated    bool
	}{
		{
			name: "a set of the held workload", status: held, gated: true,
			set: func(ns string, uid types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-5d4f7", "worker", uid, 0)
			},
		},
		{
			name: "of a workload that was made again, by the record", gated: true,
			status: func(m *v1alpha1.Session) {
				held(m)
				m.Status.Record = &v1alpha1.Record{UID: otherUID, Replicas: 3}
			},
			set: func(ns string, _ types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-5d4f7", "worker", otherUID, 0)
			},
		},
		{
			name: "of a session that takes a copy only", status: held, takeover: v1alpha1.TakeoverCopy,
			set: func(ns string, uid types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-5d4f7", "worker", uid, 0)
			},
		},
		{
			name: "before the hold", status: func(*v1alpha1.Session) {},
			set: func(ns string, uid types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-5d4f7", "worker", uid, 0)
			},
		},
		{
			name: "while it is put back",
			status: func(m *v1alpha1.Session) {
				m.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, metav1.ConditionFalse)}
			},
			set: func(ns string, uid types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-5d4f7", "worker", uid, 0)
			},
		},
		{
			name: "of another workload", status: held,
			set: func(ns string, _ types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "billing-5d4f7", "billing", otherUID, 0)
			},
		},
		{
			name: "of a workload whose name begins alike", status: held,
			set: func(ns string, _ types.UID) *appsv1.ReplicaSet {
				return replicaSet(ns, "worker-us-5d4f7", "worker-us", otherUID, 0)
			},
		},
		{
			name: "of nobody, with a name that looks like one", status: held,
			set: func(ns string, _ types.UID) *appsv1.ReplicaSet {
				set := replicaSet(ns, "worker-canary", "worker", "", 0)
				labels := map[string]string{"app": "worker"}
				set.Labels, set.Spec.Selector.MatchLabels, set.Spec.Template.Labels = labels, labels, labels
				return set
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := s.namespace(t, nil)
			made := session(ns, "s", "jane")
			if test.takeover != "" {
				made.Spec.Takeover = test.takeover
			}
			if err := s.as(t, "jane", "system:masters").Create(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			// Two Sessions of one namespace are two parameters.
			s.own(t, ns, "bystander", "joan")
			test.status(made)
			if err := s.operator(t).Status().Update(t.Context(), made); err != nil {
				t.Fatal(err)
			}
			s.settle(t, ns)
			set := test.set(ns, made.Spec.Target.UID)
			s.create(t, set)
			for name, write := range writings {
				want := int32(5)
				if test.gated {
					want = 0
				}
				got, err := write(t.Context(), s.as(t, "stranger", "system:masters"), set.DeepCopy())
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if got != want {
					t.Errorf("%s of 5 replicas gave %d, want %d", name, got, want)
				}
			}
		})
	}
}

// What the controller of a held workload makes itself is refused: the pods of a
// StatefulSet, the jobs of a CronJob.
func TestHeldWorkloadsGetNoPods(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}})
	made := s.own(t, ns, "s", "jane")
	of := func(owner types.UID) *corev1.Pod {
		p := pod(ns, "worker-0", nil)
		if owner != "" {
			yes := true
			p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "worker", UID: owner, Controller: &yes}}
		}
		return p
	}
	try := func(object client.Object) error { return s.as(t, "").Create(t.Context(), object, client.DryRunAll) }
	check(t, try(of(made.Spec.Target.UID)), "")
	hold := func(status metav1.ConditionStatus) {
		t.Helper()
		made.Status.Record = &v1alpha1.Record{UID: otherUID, Replicas: 3}
		made.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, status)}
		if err := s.operator(t).Status().Update(t.Context(), made); err != nil {
			t.Fatal(err)
		}
		eventually(t, "admission has seen it", func(context.Context) (bool, error) {
			err := try(of(made.Spec.Target.UID))
			return (err != nil) == (status == metav1.ConditionTrue), nil
		})
	}
	hold(metav1.ConditionTrue)
	const refused = `its workload is held by session "s" of "jane"`
	check(t, try(of(made.Spec.Target.UID)), refused)
	check(t, try(of(otherUID)), refused)
	check(t, try(job(ns, "report", made.Spec.Target.UID)), refused)
	check(t, try(of("5ad")), "")
	check(t, try(of("")), "")
	check(t, try(pod(ns, "s-standin-1", made)), "")
	check(t, try(job(ns, "report", "")), "")
	hold(metav1.ConditionFalse)
}

func TestHoldGateOpensWhenTheSessionIsGone(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	made := s.own(t, ns, "s", "jane")
	made.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, metav1.ConditionTrue)}
	if err := s.operator(t).Status().Update(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	s.settle(t, ns)
	set := replicaSet(ns, "worker-5d4f7", "worker", made.Spec.Target.UID, 3)
	s.create(t, set)
	if *set.Spec.Replicas != 0 {
		t.Fatalf("a set of a held workload was made with %d replicas", *set.Spec.Replicas)
	}
	if err := s.as(t, "jane", "system:masters").Delete(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	s.settle(t, ns)
	three := int32(3)
	set.Spec.Replicas = &three
	if err := s.as(t, "").Update(t.Context(), set); err != nil {
		t.Fatal(err)
	}
	if *set.Spec.Replicas != 3 {
		t.Errorf("after the session was gone 3 replicas were written and %d stored", *set.Spec.Replicas)
	}
}

// settle waits until the API server's admission has seen what was last written
// to the namespace's sessions: a marker session, written after it, gates a set
// of its own.
func (s *server) settle(t *testing.T, ns string) {
	t.Helper()
	marker := session(ns, "", "marker")
	marker.GenerateName = "marker-"
	marker.Spec.Target.Name = "marker"
	marker.Spec.Target.UID = types.UID("marker-" + metav1.Now().Format(time.RFC3339Nano))
	if err := s.as(t, "marker", "system:masters").Create(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	marker.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionHeld, metav1.ConditionTrue)}
	if err := s.operator(t).Status().Update(t.Context(), marker); err != nil {
		t.Fatal(err)
	}
	admin := s.as(t, "")
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		set := replicaSet(ns, "marker-5d4f7", "marker", marker.Spec.Target.UID, 1)
		err := admin.Create(ctx, set, client.DryRunAll)
		return err == nil && *set.Spec.Replicas == 0, err
	})
	if err != nil {
		t.Fatalf("waiting until admission has seen the sessions of %s: %v", ns, err)
	}
}
