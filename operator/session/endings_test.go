package session

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/hold"
	"understudy.dev/understudy/operator/hold/ownership"
)

// tick moves the operator's clock on, while it goes on reading.
func (w *world) tick(r *Reconciler, d time.Duration) {
	for range int(d / time.Second) {
		w.clock = w.clock.Add(time.Second)
		r.Hearing.readOK()
	}
}

// ended checks what a session that the operator ended looks like.
func (w *world) ended(name, reason string) {
	w.t.Helper()
	if c := w.conditionOf(name, v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || c.Reason != reason {
		w.t.Errorf("Ready is %s, %s: %s; want False, %s", c.Status, c.Reason, c.Message, reason)
	}
	if c := w.conditionOf(name, v1alpha1.ConditionRestored); c.Status != metav1.ConditionTrue {
		w.t.Errorf("Restored is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	if s := w.session(name); len(s.Finalizers) != 0 {
		w.t.Errorf("it still has finalizers: %v", s.Finalizers)
	}
}

func (w *world) over(name string) func() bool {
	return func() bool {
		s := w.session(name)
		return s == nil || (restored(s) && len(s.Finalizers) == 0)
	}
}

func TestLeaseExpires(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 30 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })

	// Renewed, it lives on for longer than the lease.
	for range 4 {
		w.tick(operator, 20*time.Second)
		w.renew("alice")
		w.must(w.reconcile(operator, "alice"))
	}
	// An operator that is stopped, or whose API server is down, is deaf.
	w.clock = w.clock.Add(time.Hour)
	w.must(w.reconcile(operator, "alice"))
	if !w.isReady("alice") {
		t.Fatalf("ended by time in which nothing could be heard: %+v", w.conditionOf("alice", v1alpha1.ConditionReady))
	}
	w.tick(operator, 28*time.Second)
	w.must(w.reconcile(operator, "alice"))
	if !w.isReady("alice") {
		t.Fatal("ended before its lease was over")
	}
	w.tick(operator, 3*time.Second)
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonLeaseExpired)
	w.checkSame(before, w.deployment("worker"))

	// Nothing is left that its owner could use, and it goes after a while.
	var leases coordinationv1.LeaseList
	var secrets corev1.SecretList
	w.must(w.List(w.ctx, &leases, client.InNamespace(w.namespace)))
	w.must(w.List(w.ctx, &secrets, client.InNamespace(w.namespace)))
	if len(leases.Items) != 0 || len(secrets.Items) != 0 {
		t.Errorf("left: leases %v, secrets %v", leases.Items, secrets.Items)
	}
	w.clock = w.clock.Add(DefaultKeepFinal + time.Second)
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
}

func (w *world) renew(name string) {
	w.t.Helper()
	lease := &coordinationv1.Lease{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, lease))
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(w.clock))
	lease.Spec.HolderIdentity = ptr.To(fmt.Sprint(w.clock))
	w.must(w.Update(w.ctx, lease))
}

// Operators that crash every few seconds do not let a dead session live on.
func TestCrashLoopDoesNotProlong(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 1)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 20 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })
	for lives := 1; ; lives++ {
		operator = w.operator(w.WithWatch)
		for range 4 {
			w.must(w.reconcile(operator, "alice"))
			w.tick(operator, time.Second)
		}
		w.must(w.reconcile(operator, "alice"))
		if w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonLeaseExpired {
			break
		}
		if lives > 12 {
			t.Fatalf("after %d operators of 4 s each the session of 20 s still lives: %+v", lives, w.session("alice").Status.Silence)
		}
	}
}

func TestMaxDuration(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 2)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.MaxDurationSeconds = 600 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the session is ready", func() bool { return w.isReady("alice") })
	w.clock = w.clock.Add(10*time.Minute + time.Second)
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonMaxDurationReached)
	if n := *w.deployment("worker").Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2", n)
	}
}

// What cannot become ready is rolled back, with the kubelet's own reason.
func TestSetupDeadline(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.noStart = true
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the stand-in is made", func() bool { return w.session("alice").Status.Agent != nil })
	pod := &corev1.Pod{}
	w.must(w.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "alice-standin-1"}, pod))
	w.setPod(pod, corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "registry.example/worker:1: no such image"}})
	w.drive(operator, "alice", "the kubelet's reason is shown", func() bool {
		return strings.Contains(w.conditionOf("alice", v1alpha1.ConditionReady).Message, "no such image")
	})
	if *w.deployment("worker").Spec.Replicas != 3 {
		t.Error("held before the stand-in runs")
	}
	w.clock = w.clock.Add(3 * time.Minute)
	w.drive(operator, "alice", "the deadline is over", func() bool {
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonSetupDeadlineExceeded
	})
	w.noStart = false
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonSetupDeadlineExceeded)
	if message := w.conditionOf("alice", v1alpha1.ConditionReady).Message; !strings.Contains(message, "no such image") {
		t.Errorf("the message lacks the kubelet's reason: %s", message)
	}
	w.checkSame(before, w.deployment("worker"))
}

// Each is refused with its reason, before anything was done to the workload.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		message string
		before  func(*world)
		spec    func(*world, *v1alpha1.SessionSpec)
	}{
		"no such target": {reason: v1alpha1.ReasonTargetNotFound, spec: func(_ *world, s *v1alpha1.SessionSpec) { s.Target.Name = "other" }},
		"made anew":      {reason: v1alpha1.ReasonTargetReplaced, spec: func(_ *world, s *v1alpha1.SessionSpec) { s.Target.UID = "other" }},
		"kind":           {reason: v1alpha1.ReasonTargetUnsupported, spec: func(_ *world, s *v1alpha1.SessionSpec) { s.Target.Resource = "podtemplates" }},
		"group":          {reason: v1alpha1.ReasonTargetUnsupported, spec: func(_ *world, s *v1alpha1.SessionSpec) { s.Target.Group = "apps.example.com" }},
		"container":      {reason: v1alpha1.ReasonContainerNotFound, spec: func(_ *world, s *v1alpha1.SessionSpec) { s.Target.Container = "other" }},
		"controlled": {reason: v1alpha1.ReasonTargetControlled, message: "Rollout shop", before: func(w *world) {
			d := w.deployment("worker")
			d.OwnerReferences = []metav1.OwnerReference{{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "shop", UID: "r-1", Controller: ptr.To(true)}}
			w.must(w.Update(w.ctx, d))
		}},
		"quota": {reason: v1alpha1.ReasonStandInRefused, message: "exceeded quota", before: func(w *world) {
			quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "tight"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"pods": resource.MustParse("3")}}}
			w.must(w.Create(w.ctx, quota))
			quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{"pods": resource.MustParse("3")}}
			w.must(w.Status().Update(w.ctx, quota))
		}},
		"Pod Security": {reason: v1alpha1.ReasonStandInRefused, message: "PodSecurity", before: func(w *world) {
			ns := &corev1.Namespace{}
			w.must(w.Get(w.ctx, client.ObjectKey{Name: w.namespace}, ns))
			ns.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
			w.must(w.Update(w.ctx, ns))
		}},
		"unreadable claim at zero": {reason: v1alpha1.ReasonRecordUnreadable, before: func(w *world) {
			d := w.deployment("worker")
			d.Annotations = map[string]string{v1alpha1.ClaimAnnotation: "{"}
			d.Spec.Replicas = ptr.To(int32(0))
			w.must(w.Update(w.ctx, d))
			w.until("it is at zero", func() bool { w.play(); return w.running("worker") == 0 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy("worker", 3)
			if c.before != nil {
				c.before(w)
			}
			before := w.deployment("worker")
			w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) {
				if c.spec != nil {
					c.spec(w, s)
				}
			})
			operator := w.operator(w.WithWatch)
			w.drive(operator, "alice", "the session is over", w.over("alice"))
			w.ended("alice", c.reason)
			if m := w.conditionOf("alice", v1alpha1.ConditionReady).Message; !strings.Contains(m, c.message) {
				t.Errorf("the message is %q, want %q in it", m, c.message)
			}
			w.checkSame(before, w.deployment("worker"))
			var pods corev1.PodList
			w.must(w.List(w.ctx, &pods, client.InNamespace(w.namespace), client.HasLabels{v1alpha1.SessionLabel}))
			if len(pods.Items) > 0 {
				t.Errorf("there is a stand-in: %s", pods.Items[0].Name)
			}
		})
	}
}

func TestPolicyMissing(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	operator.PolicyName = "nobody-installed-this"
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonPolicyMissing)
}

// A Session that was there before the policy, or with it, was checked by nobody.
func TestPolicyYoungerThanSession(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	before := w.deployment("worker")
	w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	// As if the policy, which all tests share, had been made just now.
	policy := &admissionv1.ValidatingAdmissionPolicy{}
	w.must(w.Get(w.ctx, client.ObjectKey{Name: testPolicy}, policy))
	operator.PolicyLag = w.session("alice").CreationTimestamp.Sub(policy.CreationTimestamp.Time)
	if operator.PolicyLag == 0 {
		operator.PolicyLag = time.Second
	}
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonPolicyMissing)
	if m := w.conditionOf("alice", v1alpha1.ConditionReady).Message; !strings.Contains(m, "start it again") {
		t.Errorf("the message does not say what to do: %s", m)
	}
	w.checkSame(before, w.deployment("worker"))

	// One that was begun under the policy goes on when it is made anew.
	operator = w.operator(w.WithWatch)
	w.ask("bob", "worker")
	w.drive(operator, "bob", "ready", func() bool { return w.isReady("bob") })
	operator.PolicyLag = time.Hour
	w.must(w.reconcile(operator, "bob"))
	if !w.isReady("bob") {
		t.Errorf("ended: %s", w.conditionOf("bob", v1alpha1.ConditionReady).Message)
	}
}

// A binding that was changed to only warn, or for some resources only, is none.
func TestPolicyBinds(t *testing.T) {
	deny := []admissionv1.ValidationAction{admissionv1.Deny}
	for name, c := range map[string]struct {
		spec admissionv1.ValidatingAdmissionPolicyBindingSpec
		want bool
	}{
		"as installed":       {admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p", ValidationActions: deny}, true},
		"warns":              {admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p", ValidationActions: []admissionv1.ValidationAction{admissionv1.Warn}}, false},
		"another policy":     {admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "q", ValidationActions: deny}, false},
		"some namespaces":    {admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p", ValidationActions: deny, MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}}, false},
		"empty restrictions": {admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "p", ValidationActions: deny, MatchResources: &admissionv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{}}}, true},
	} {
		if got := binds(&admissionv1.ValidatingAdmissionPolicyBinding{Spec: c.spec}, "p"); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestSecondSessionIsToldWhoHolds(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	first := w.ask("alice", "worker")
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "the first is ready", func() bool { return w.isReady("alice") })
	for _, stripped := range []bool{false, true} {
		name := map[bool]string{false: "bob", true: "carol"}[stripped]
		if stripped {
			// Somebody's `kubectl replace` took the claim off.
			d := w.deployment("worker")
			delete(d.Annotations, v1alpha1.ClaimAnnotation)
			w.must(w.Update(w.ctx, d))
		}
		w.ask(name, "worker")
		w.drive(operator, name, "the second is over", w.over(name))
		w.ended(name, v1alpha1.ReasonHeldByAnother)
		message := w.conditionOf(name, v1alpha1.ConditionReady).Message
		if since := first.CreationTimestamp.UTC().Format(time.RFC3339); !strings.Contains(message, "alice@example.com") || !strings.Contains(message, since) {
			t.Errorf("the message names neither holder nor since when (%s): %s", since, message)
		}
	}
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.drive(operator, "alice", "the first is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
}

// A claim whose session is gone gives its number back, once.
func TestSweep(t *testing.T) {
	w := newWorld(t)
	sweep := func(name string) {
		s := &Sweeper{Reconciler: w.operator(w.WithWatch), Kind: hold.Deployment{}}
		d := w.deployment(name)
		w.must(s.sweepOneFor(w, d))
	}
	w.deploy("left", 3)
	before := w.deployment("left")
	w.claim("left", before.UID, 3)
	w.zero("left")
	sweep("left")
	w.checkSame(before, w.deployment("left"))

	// `rollout undo` brings an old claim back: only removed.
	w.claim("left", before.UID, 9)
	sweep("left")
	w.checkSame(before, w.deployment("left"))

	// A copy of another object's claim, at somebody's zero: only removed.
	w.claim("left", "another", 9)
	w.zero("left")
	sweep("left")
	if d := w.deployment("left"); *d.Spec.Replicas != 0 || d.Annotations[v1alpha1.ClaimAnnotation] != "" {
		t.Errorf("%d replicas, annotations %v", *d.Spec.Replicas, d.Annotations)
	}
}

func (s *Sweeper) sweepOneFor(w *world, d *appsv1.Deployment) error {
	done := make(chan error, 1)
	go func() {
		_, err := s.Reconcile(w.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d)})
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err
		default:
			w.play()
		}
	}
}

func (w *world) claim(name string, workload types.UID, replicas int32) {
	w.t.Helper()
	d := w.deployment(name)
	claim := hold.NewClaim(workload, "gone", "gone", "somebody", replicas, w.clock)
	holder := hold.Holder{API: hold.API{Reader: w.WithWatch, Writer: w.WithWatch}}
	w.must(holder.Claim(w.ctx, d, claim))
}

// zero brings it to zero as a hold does, ownership given back.
func (w *world) zero(name string) {
	w.t.Helper()
	d := w.deployment(name)
	owners := ownership.Owners(d.ManagedFields, hold.Deployment{}.Field())
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":0}}`))
	w.must(w.Patch(w.ctx, d, patch, client.FieldOwner(hold.FieldManager)))
	holder := hold.Holder{API: hold.API{Reader: w.WithWatch, Writer: w.WithWatch}}
	_, err := holder.GiveBack(w.ctx, hold.Deployment{}, d, owners, true)
	w.must(err)
	w.until("it is at zero", func() bool { w.play(); return w.running(name) == 0 })
}
