package session

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"understudy.dev/understudy/cli/target"
	"understudy.dev/understudy/operator/api/v1alpha1"
)

// TestFindFor: of a target's sessions the one that lives is meant, and one that is kept
// to be read only where no other is there.
func TestFindFor(t *testing.T) {
	w := newWorld(t, nil)
	worker := target.Ref{Group: "apps", Resource: "deployments", Name: "worker"}
	create := func() string {
		made, err := w.Create(t.Context(), w.spec())
		if err != nil {
			t.Fatal(err)
		}
		return made.Name
	}
	find := func(want string) {
		t.Helper()
		switch found, err := w.FindFor(t.Context(), worker); {
		case err != nil:
			t.Error(err)
		case found.Name != want:
			t.Errorf("found %s, want %s", found.Name, want)
		}
	}
	first := create()
	w.says(first, v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired, "The owner's machine was not heard of for 5s.")
	find(first)
	w.says(first, v1alpha1.ConditionRestored, metav1.ConditionTrue, v1alpha1.ReasonRestored, "The workload is back at 3 replicas.")
	find(first)
	second := create()
	find(second)
	third := create()
	if found, err := w.FindFor(t.Context(), worker); err == nil {
		t.Errorf("of %s and %s it is %s", second, third, found.Name)
	}
}
