package chart

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// controllers runs the cluster's own controllers of these names, each with its
// own account, until the test ends. What it returns, to be deferred, ends them.
func (s *server) controllers(t *testing.T, names string) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, program(t, "kube-controller-manager"),
		"--kubeconfig="+s.kubeconfig, "--controllers="+names, "--use-service-account-credentials",
		"--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0", "--cert-dir="+filepath.Join(t.TempDir(), "certs"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("starting the cluster's controllers: %v", err)
	}
	return func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the controllers said:\n%s", &log)
		}
	}
}

// eventually waits until done returns true.
func eventually(t *testing.T, what string, done func(context.Context) (bool, error)) {
	t.Helper()
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 60*time.Second, true, done); err != nil {
		t.Fatalf("waiting until %s: %v", what, err)
	}
}

// TestPoliciesHaveTheTypesTheyThink: the API server takes expressions with
// fields that do not exist; its controller says so in the status.
func TestPoliciesHaveTheTypesTheyThink(t *testing.T) {
	s := installed(t)
	defer s.controllers(t, "validatingadmissionpolicy-status-controller")()
	for _, name := range []string{"understudy-sessions", "understudy-operator"} {
		policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		eventually(t, name+" is checked", func(ctx context.Context) (bool, error) {
			err := s.as(t, "").Get(ctx, client.ObjectKey{Name: name}, policy)
			return policy.Status.ObservedGeneration == policy.Generation && policy.Status.TypeChecking != nil, err
		})
		for _, warning := range policy.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s: %s", name, warning.FieldRef, warning.Warning)
		}
	}
}

// TestTheClustersControllersMayDeleteSessions: a namespace goes with its
// sessions, and so does an owner, without anybody having the verb `end`.
func TestTheClustersControllersMayDeleteSessions(t *testing.T) {
	s := installed(t)
	defer s.controllers(t, "namespace-controller,garbage-collector-controller")()
	admin := s.as(t, "")

	ns := s.namespace(t, nil)
	s.own(t, ns, "s", "jane")
	check(t, admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}), "")
	eventually(t, "the namespace is gone", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKey{Name: ns}, &corev1.Namespace{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})

	// In the foreground: the collector takes its own finalizer away at the end.
	ns = s.namespace(t, nil)
	owner := s.own(t, ns, "s", "jane")
	s.create(t, &corev1.Secret{ObjectMeta: ofSession(ns, "s-agent-1", owner)})
	jane := s.as(t, "jane", "system:masters")
	check(t, jane.Delete(t.Context(), owner, client.PropagationPolicy(metav1.DeletePropagationForeground)), "")
	eventually(t, "the session is gone", func(ctx context.Context) (bool, error) {
		err := admin.Get(ctx, client.ObjectKeyFromObject(owner), &v1alpha1.Session{})
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	check(t, admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "s-agent-1"}, &corev1.Secret{}), "not found")
}

// TestWhatRefusesNewSessionsGoesWithTheRelease: the drain leaves its policy to
// the collector.
func TestWhatRefusesNewSessionsGoesWithTheRelease(t *testing.T) {
	s := installed(t)
	defer s.controllers(t, "garbage-collector-controller")()
	// A stand-in for the release's own role, which the other tests need.
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: "release-"}}
	s.create(t, role)
	policy := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "draining-", OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "ClusterRole", Name: role.Name, UID: role.UID},
		}},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: "none", ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	s.create(t, policy)
	check(t, s.as(t, "").Delete(t.Context(), role), "")
	eventually(t, "the policy's binding is gone", func(ctx context.Context) (bool, error) {
		err := s.as(t, "").Get(ctx, client.ObjectKeyFromObject(policy), policy)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
}
