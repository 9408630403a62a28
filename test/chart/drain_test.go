package chart

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
	"understudy.dev/understudy/operator/drain"
)

const drainUser = "system:serviceaccount:" + releaseNamespace + ":understudy-drain"

// hook makes what Helm makes before it runs the drain's Job, and waits until
// new sessions are refused. What it returns, to be deferred, undoes that.
func (s *server) hook(t *testing.T) func() {
	t.Helper()
	o, err := render(t, append(modern, "--namespace", releaseNamespace)...)
	if err != nil {
		t.Fatal(err)
	}
	var made []client.Object
	for key, object := range o {
		if object.GetAnnotations()["helm.sh/hook"] == "" || object.GetKind() == "Job" {
			continue
		}
		if err := s.as(t, "").Create(t.Context(), object); err != nil {
			t.Fatalf("creating %s: %v", key, err)
		}
		made = append(made, object)
	}
	s.waitForSession(t, "default", "being uninstalled")
	return func() {
		for _, object := range made {
			if err := s.as(t, "").Delete(t.Context(), object); client.IgnoreNotFound(err) != nil {
				t.Errorf("deleting %s: %v", object.GetName(), err)
			}
		}
		s.waitForSession(t, "default", "")
	}
}

// waitForSession waits until an administrator's new session is refused with
// the text, or let through if it is empty.
func (s *server) waitForSession(t *testing.T, ns, want string) {
	t.Helper()
	root := s.as(t, "root", "system:masters")
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		last = root.Create(ctx, session(ns, "late", "root"), client.DryRunAll)
		if want == "" {
			return last == nil, nil
		}
		return last != nil && strings.Contains(last.Error(), want), nil
	})
	if err != nil {
		t.Fatalf("a new session got %v, want %q", last, want)
	}
}

// finalize gives the session the operator's finalizer.
func (s *server) finalize(t *testing.T, held *v1alpha1.Session, finalizers ...string) {
	t.Helper()
	held.Finalizers = finalizers
	if err := s.operator(t).Update(t.Context(), held); err != nil {
		t.Fatal(err)
	}
}

func TestDrainEndsTheOpenSessions(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	held := s.own(t, ns, "held", "jane")
	s.finalize(t, held, v1alpha1.Finalizer)
	s.own(t, ns, "idle", "joan")
	defer s.hook(t)()

	// The operator undoes what is being deleted.
	restored := make(chan error, 1)
	go func() {
		operator := s.operator(t)
		restored <- wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
			if err := operator.Get(ctx, client.ObjectKeyFromObject(held), held); err != nil || held.DeletionTimestamp.IsZero() {
				return false, err
			}
			held.Finalizers = nil
			return true, operator.Update(ctx, held)
		})
	}()

	var out bytes.Buffer
	d := drain.Drain{
		Client: s.as(t, drainUser), Out: &out,
		Timeout: 30 * time.Second, Interval: 20 * time.Millisecond, Settle: 200 * time.Millisecond,
	}
	if err := d.Run(t.Context()); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
	if err := <-restored; err != nil {
		t.Errorf("being the operator: %v", err)
	}
	var left v1alpha1.SessionList
	check(t, s.as(t, "").List(t.Context(), &left), "")
	if len(left.Items) != 0 {
		t.Errorf("%d sessions are left", len(left.Items))
	}

	// New ones stay refused until the release is gone, and what refuses them goes with it.
	s.waitForSession(t, "default", "being uninstalled")
	role := &rbacv1.ClusterRole{}
	check(t, s.as(t, "").Get(t.Context(), client.ObjectKey{Name: "understudy-operator"}, role), "")
	for _, object := range []client.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{},
	} {
		check(t, s.as(t, "").Get(t.Context(), client.ObjectKey{Name: "understudy-draining"}, object), "")
		owners := object.GetOwnerReferences()
		if len(owners) != 1 || owners[0].UID != role.UID || owners[0].Kind != "ClusterRole" {
			t.Errorf("%T is owned by %v", object, owners)
		}
	}
}

func TestDrainNamesWhatRemainsAndReopens(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	stuck := s.own(t, ns, "stuck", "jane")
	s.finalize(t, stuck, v1alpha1.Finalizer)
	defer func() {
		operator := s.operator(t)
		check(t, operator.Get(t.Context(), client.ObjectKeyFromObject(stuck), stuck), "")
		stuck.Finalizers = nil
		check(t, operator.Update(t.Context(), stuck), "")
	}()
	restoring := condition(v1alpha1.ConditionRestored, metav1.ConditionFalse)
	restoring.Reason, restoring.Message = v1alpha1.ReasonRestoring, "waiting for the stand-in to be gone"
	stuck.Status.Conditions = []metav1.Condition{restoring}
	if err := s.operator(t).Status().Update(t.Context(), stuck); err != nil {
		t.Fatal(err)
	}
	defer s.hook(t)()

	var out bytes.Buffer
	d := drain.Drain{Client: s.as(t, drainUser), Out: &out, Timeout: time.Second, Interval: 20 * time.Millisecond}
	err := d.Run(t.Context())
	if !errors.Is(err, drain.ErrSessionsRemain) {
		t.Errorf("draining gave %v, want %v", err, drain.ErrSessionsRemain)
	}
	check(t, err, ns+"/stuck of jane (Restoring: waiting for the stand-in to be gone)")
	s.waitForSession(t, "default", "")
	s.gone(t, &admissionregistrationv1.ValidatingAdmissionPolicy{}, "understudy-draining")
	s.gone(t, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}, "understudy-draining")
}

func TestDrainNeedsThePolicyThatRefusesNewSessions(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	s.own(t, ns, "open", "jane")
	d := drain.Drain{Client: s.as(t, "root", "system:masters"), Out: &bytes.Buffer{}, Timeout: time.Second}
	check(t, d.Run(t.Context()), "getting the policy that refuses new sessions")
	check(t, s.as(t, "").Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "open"}, &v1alpha1.Session{}), "")
}
