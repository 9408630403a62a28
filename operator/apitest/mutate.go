package apitest

import (
	"context"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Mutate has the API server change every update of a resource in one namespace, as a
// mutating webhook would, by an apply configuration in CEL. It returns once acts says
// that it does; undo takes it away, and returns once acts says that it no longer does.
func Mutate(t testing.TB, c client.Client, namespace string, resource schema.GroupVersionResource, expression string, acts func() bool) (undo func()) {
	t.Helper()
	name := "mutates-" + resource.Resource + "-" + namespace
	policy := &admission.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admission.MutatingAdmissionPolicySpec{
		ReinvocationPolicy: admission.NeverReinvocationPolicy,
		MatchConstraints: &admission.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}},
			ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: admission.RuleWithOperations{
				Operations: []admission.OperationType{admission.Update},
				Rule:       admission.Rule{APIGroups: []string{resource.Group}, APIVersions: []string{resource.Version}, Resources: []string{resource.Resource}},
			}}},
		},
		Mutations: []admission.Mutation{{
			PatchType: admission.PatchTypeApplyConfiguration, ApplyConfiguration: &admission.ApplyConfiguration{Expression: expression},
		}},
	}}
	binding := &admission.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admission.MutatingAdmissionPolicyBindingSpec{PolicyName: name}}
	await := func(what string, holds func(context.Context) bool) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) { return holds(ctx), nil })
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for _, object := range []client.Object{policy, binding} {
		await("making a policy that changes what is written", func(ctx context.Context) bool {
			return client.IgnoreAlreadyExists(c.Create(ctx, object)) == nil
		})
	}
	remove := func(ctx context.Context) (err error) {
		for _, object := range []client.Object{binding, policy} {
			if err = client.IgnoreNotFound(c.Delete(ctx, object)); err != nil {
				return err
			}
		}
		return nil
	}
	t.Cleanup(func() { _ = remove(context.WithoutCancel(t.Context())) })
	await("what is written is changed", func(context.Context) bool { return acts() })
	return func() {
		t.Helper()
		await("taking the policy away", func(ctx context.Context) bool { return remove(ctx) == nil })
		await("what is written stays as it is", func(context.Context) bool { return !acts() })
	}
}
