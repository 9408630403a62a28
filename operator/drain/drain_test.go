package drain

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

func session(name string, finalizers ...string) *v1alpha1.Session {
	return &v1alpha1.Session{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Finalizers: finalizers},
		Spec:       v1alpha1.SessionSpec{Owner: v1alpha1.Owner{Username: "jane"}},
	}
}

// cluster is one with the gate in place, whose lists go through the function.
func cluster(
	t *testing.T, list func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error, sessions ...client.Object,
) client.Client {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: releaseRole, UID: "role"}},
		&admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: policyName}},
		&admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: policyName}},
	).WithObjects(sessions...).WithInterceptorFuncs(interceptor.Funcs{List: list}).Build()
}

// run drains the cluster quickly and returns what was printed.
func run(ctx context.Context, c client.Client, timeout time.Duration) (string, error) {
	var out bytes.Buffer
	d := Drain{Client: c, Out: &out, Timeout: timeout, Interval: time.Millisecond, Settle: 20 * time.Millisecond}
	err := d.Run(ctx)
	return out.String(), err
}

func TestDrainWithoutTheResourceHasNothingToDo(t *testing.T) {
	c := cluster(t, func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return &meta.NoKindMatchError{GroupKind: v1alpha1.GroupVersion.WithKind("Session").GroupKind()}
	})
	out, err := run(t.Context(), c, time.Minute)
	if err != nil || !strings.Contains(out, "not installed") {
		t.Errorf("draining gave %v and said %q", err, out)
	}
}

func TestDrainWaitsForAnAPIServerThatIsAway(t *testing.T) {
	failures := 3
	c := cluster(t, func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
		if failures--; failures >= 0 {
			return apierrors.NewServiceUnavailable("restarting")
		}
		return c.List(ctx, l, o...)
	}, session("a"))
	out, err := run(t.Context(), c, time.Minute)
	if err != nil || !strings.Contains(out, "ending session shop/a of jane") {
		t.Errorf("draining gave %v and said %q", err, out)
	}
}

// TestDrainEndsWhatSlippedIn: an API server may let a session in that has not
// seen the policy yet.
func TestDrainEndsWhatSlippedIn(t *testing.T) {
	looks := 0
	c := cluster(t, func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
		if looks++; looks == 2 {
			if err := c.Create(ctx, session("late")); err != nil {
				return err
			}
		}
		return c.List(ctx, l, o...)
	})
	out, err := run(t.Context(), c, time.Minute)
	if err != nil || !strings.Contains(out, "ending session shop/late of jane") {
		t.Errorf("draining gave %v and said %q", err, out)
	}
}

func TestDrainReopensWhenItIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := cluster(t, func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
		defer cancel()
		return c.List(ctx, l, o...)
	}, session("stuck", v1alpha1.Finalizer))
	out, err := run(ctx, c, time.Minute)
	if !errors.Is(err, ErrSessionsRemain) || !strings.Contains(err.Error(), "shop/stuck of jane") {
		t.Errorf("draining gave %v", err)
	}
	if !strings.Contains(out, "let in again") {
		t.Errorf("it said %q", out)
	}
	for _, object := range gate() {
		if err := c.Get(t.Context(), client.ObjectKey{Name: policyName}, object); !apierrors.IsNotFound(err) {
			t.Errorf("getting %T: %v, want not found", object, err)
		}
	}
}

func TestRunRefusesUnknownFlags(t *testing.T) {
	if err := Run(t.Context(), []string{"--force"}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("running with an unknown flag gave %v", err)
	}
}
