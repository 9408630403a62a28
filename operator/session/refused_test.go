package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// deny has a policy of the cluster refuse what does not fit of the deployments in
// the test's namespace, and waits until refusing says that it is in force.
func (w *world) deny(fits, message string, refusing func() error) (lift func()) {
	w.t.Helper()
	meta := metav1.ObjectMeta{Name: "house-rule-" + w.namespace}
	w.must(w.Create(w.ctx, &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: meta,
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"*"}, Resources: []string{"deployments"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: fits, Message: message}},
		},
	}))
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: meta,
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	w.must(w.Create(w.ctx, binding))
	w.eventually("the policy is in force", func() bool { return isRefusal(refusing()) })
	return func() {
		w.must(w.Delete(w.ctx, binding))
		w.eventually("the policy is in force no more", func() bool { return refusing() == nil })
	}
}

// try asks whether the deployment could be brought to so many.
func (w *world) try(replicas int32) func() error {
	return func() error {
		d := w.deployment("worker")
		d.Spec.Replicas = ptr.To(replicas)
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, "example.com/probe", "1")
		return w.Update(w.ctx, d, client.DryRunAll)
	}
}

// told reads the events that were sent so far.
func told(recorder *events.FakeRecorder, part string) (n int) {
	for {
		select {
		case event := <-recorder.Events:
			if strings.Contains(event, part) {
				n++
			}
		default:
			return n
		}
	}
}

const oneAtLeast = "every deployment has a replica"

// A policy comes that lets no deployment be scaled to zero, and somebody scales
// the held one up. The session cannot keep it at zero, and says so instead of
// Ready; an owner who is not heard of ends it all the same.
func TestKeepRefused(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	w.deploy("worker", 3)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 30 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.scale("worker", 5, "kubectl")
	w.deny("object.spec.replicas >= 1", oneAtLeast, w.try(0))

	if err := w.reconcile(operator, "alice"); !isRefusal(err) {
		t.Fatalf("reconciling: %v", err)
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || c.Reason != v1alpha1.ReasonRefused || !strings.Contains(c.Message, oneAtLeast) {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.tick(operator, 20*time.Second)
	w.renew("alice")
	_ = w.reconcile(operator, "alice")
	w.tick(operator, 20*time.Second)
	_ = w.reconcile(operator, "alice")
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonRefused {
		t.Fatalf("Ready is %s, %s: %s; its owner is there", c.Status, c.Reason, c.Message)
	}
	w.tick(operator, 31*time.Second)
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonLeaseExpired)
	if n := *w.deployment("worker").Spec.Replicas; n != 5 {
		t.Errorf("%d replicas, want the stranger's 5", n)
	}
}

// Such a refusal goes by, and the session is ready again.
func TestKeepRefusedForAWhile(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	operator := w.held(3)
	w.scale("worker", 5, "kubectl")
	lift := w.deny("object.spec.replicas >= 1", oneAtLeast, w.try(0))
	_ = w.reconcile(operator, "alice")
	if w.isReady("alice") {
		t.Error("ready, and not at zero")
	}
	lift()
	w.drive(operator, "alice", "ready again", func() bool { return w.isReady("alice") })
}

// An upgrade of the chart takes the right to the held kind away. The session
// says so, and its owner's end is noticed.
func TestRightTakenAway(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 30 })
	operator := w.operator(w.WithWatch)
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	may := false
	operator.Live = interceptor.NewClient(w.WithWatch, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
		if _, ok := object.(*appsv1.Deployment); ok && !may {
			return apierrors.NewForbidden(appsv1.Resource("deployments"), key.Name, errors.New("the operator cannot get it"))
		}
		return c.Get(ctx, key, object, options...)
	}})
	_ = w.reconcile(operator, "alice")
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "cannot get it") {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	w.tick(operator, 31*time.Second)
	w.until("its owner's end is noticed", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonLeaseExpired
	})
	w.until("it is said what to do", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		c := w.conditionOf("alice", v1alpha1.ConditionRestored)
		return c.Reason == v1alpha1.ReasonRefused && strings.Contains(c.Message, "understudy restore -n "+w.namespace)
	})
	may = true
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
}

// A policy refuses the number at the end. People are told so, in its words and
// once, at the session and at the workload, and it comes back when it may.
func TestRestoreRefused(t *testing.T) {
	w := newWorld(t)
	w.gate = true
	operator := w.held(3)
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	lift := w.deny("false", "images are signed", w.try(3))
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("it is said", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return w.conditionOf("alice", v1alpha1.ConditionRestored).Reason == v1alpha1.ReasonRefused
	})
	for range 5 {
		_ = w.reconcile(operator, "alice")
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionRestored); c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "images are signed") {
		t.Errorf("Restored is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionHeld); c.Status != metav1.ConditionFalse {
		t.Errorf("Held is %s, %s: %s: the gate would keep the pods away", c.Status, c.Reason, c.Message)
	}
	if n := told(recorder, "images are signed"); n != 2 {
		t.Errorf("said in %d events, want 2: of the session and of the workload", n)
	}
	lift()
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
}

// A policy lets no deployment be brought to zero. The session says so while it
// waits, and in why it has ended.
func TestHoldRefused(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	w.deny("object.spec.replicas >= 1", oneAtLeast, w.try(0))
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.SetupDeadlineSeconds = 60 })
	operator := w.operator(w.WithWatch)
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	w.until("it is said", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return w.conditionOf("alice", v1alpha1.ConditionReady).Reason == v1alpha1.ReasonRefused
	})
	for range 5 {
		_ = w.reconcile(operator, "alice")
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); !strings.Contains(c.Message, oneAtLeast) {
		t.Errorf("Ready is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	if n := told(recorder, oneAtLeast); n != 2 {
		t.Errorf("said in %d events, want 2: of the session and of the workload", n)
	}
	w.renew("alice")
	w.tick(operator, 40*time.Second)
	w.renew("alice")
	w.tick(operator, 2*time.Minute)
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonSetupDeadlineExceeded)
	if c := w.conditionOf("alice", v1alpha1.ConditionReady); !strings.Contains(c.Message, oneAtLeast) {
		t.Errorf("it ended by %s", c.Message)
	}
	if n := *w.deployment("worker").Spec.Replicas; n != 3 {
		t.Errorf("%d replicas, want 3", n)
	}
}

// The workload is back, and what was made for the session may not be deleted. That is
// said at once and once, beside what became of the workload; and when it may, the
// session goes.
func TestRetireRefused(t *testing.T) {
	w := newWorld(t)
	may := false
	operator := w.held(3)
	operator.Writer = interceptor.NewClient(w.WithWatch, interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
		if _, ok := object.(*coordinationv1.Lease); ok && !may {
			return apierrors.NewForbidden(coordinationv1.Resource("leases"), object.GetName(), errors.New("leases are kept"))
		}
		return c.Delete(ctx, object, options...)
	}})
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	w.must(w.Delete(w.ctx, w.session("alice")))
	w.until("it is said", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return strings.Contains(w.conditionOf("alice", v1alpha1.ConditionRestored).Message, "leases are kept")
	})
	for range 5 {
		_ = w.reconcile(operator, "alice")
	}
	if c := w.conditionOf("alice", v1alpha1.ConditionRestored); c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonRestored || !strings.Contains(c.Message, "back at 3") || strings.Count(c.Message, "leases are kept") != 1 {
		t.Errorf("Restored is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
	if n := told(recorder, "leases are kept"); n != 1 {
		t.Errorf("said in %d events, want 1, of the session", n)
	}
	may = true
	w.drive(operator, "alice", "the session is gone", func() bool { return w.session("alice") == nil })
}

// So with one that has ended by itself, and is kept to be read: the message goes
// when what it speaks of is done.
func TestRetireRefusedForAWhile(t *testing.T) {
	w := newWorld(t)
	w.deploy("worker", 3)
	w.ask("alice", "worker", func(s *v1alpha1.SessionSpec) { s.LeaseDurationSeconds = 30 })
	may := false
	operator := w.operator(interceptor.NewClient(w.WithWatch, interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
		if _, ok := object.(*v1alpha1.Session); ok && !w.over("alice")() && restored(w.session("alice")) && !may {
			return apierrors.NewForbidden(v1alpha1.Resource.GroupResource(), object.GetName(), errors.New("sessions are kept"))
		}
		return c.Patch(ctx, object, patch, options...)
	}}))
	recorder := events.NewFakeRecorder(100)
	operator.Events = recorder
	w.drive(operator, "alice", "ready", func() bool { return w.isReady("alice") })
	w.tick(operator, 31*time.Second)
	w.until("it is said", func() bool {
		w.play()
		_ = w.reconcile(operator, "alice")
		return strings.Contains(w.conditionOf("alice", v1alpha1.ConditionRestored).Message, "sessions are kept")
	})
	for range 5 {
		_ = w.reconcile(operator, "alice")
	}
	if n := told(recorder, "sessions are kept"); n != 1 {
		t.Errorf("said in %d events, want 1", n)
	}
	may = true
	w.drive(operator, "alice", "the session is over", w.over("alice"))
	w.ended("alice", v1alpha1.ReasonLeaseExpired)
	if c := w.conditionOf("alice", v1alpha1.ConditionRestored); strings.Contains(c.Message, "sessions are kept") || !strings.Contains(c.Message, "back at 3") {
		t.Errorf("Restored is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
}
