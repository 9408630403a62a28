package chart

import (
	"context"
	"testing"
	"time"

	admission "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestOthersMayStampWhatTheOperatorWrites: a policy of the cluster's that marks
// every write must not be what keeps a number from coming back. One that makes the
// pods other pods is not let through in the operator's name.
func TestOthersMayStampWhatTheOperatorWrites(t *testing.T) {
	s := installed(t)
	ns := s.namespace(t, nil)
	worker := statefulSet(ns, "worker", 3)
	s.create(t, worker)
	const (
		hold    = `{"metadata":{"annotations":{"understudy.dev/claim":"{}"}},"spec":{"replicas":0}}`
		restore = `{"metadata":{"annotations":{"understudy.dev/claim":null}},"spec":{"replicas":3}}`
	)
	operator := s.operator(t)
	write := func(text string, options ...client.PatchOption) (*appsv1.StatefulSet, error) {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
		return set, operator.Patch(t.Context(), set, client.RawPatch(types.MergePatchType, []byte(text)), options...)
	}
	s.mutates(t, ns, `Object{
		metadata: Object.metadata{labels: {"changed-by": request.userInfo.username.replace(":", ".")}, annotations: {"audit.example/seen": "yes"}},
		spec: Object.spec{revisionHistoryLimit: 3}}`)
	eventually(t, "what is written is stamped", func(context.Context) (bool, error) {
		set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "worker"}}
		err := s.as(t, "").Patch(t.Context(), set, client.RawPatch(types.MergePatchType, []byte(`{}`)), client.DryRunAll)
		return set.Annotations["audit.example/seen"] == "yes", err
	})
	for _, text := range []string{hold, restore} {
		set, err := write(text)
		check(t, err, "")
		if set.Annotations["audit.example/seen"] != "yes" || *set.Spec.RevisionHistoryLimit != 3 {
			t.Errorf("the operator's write was not stamped: %v", set.Annotations)
		}
	}
	s.mutates(t, ns, `Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{serviceAccountName: "admin"}}}}`)
	eventually(t, "pods are made other pods", func(context.Context) (bool, error) {
		_, err := write(hold, client.DryRunAll)
		return err != nil, nil
	})
	_, err := write(hold, client.DryRunAll)
	check(t, err, "nothing of a workload's spec but its replicas")
}

// mutates has the cluster change every StatefulSet of a namespace that is written.
func (s *server) mutates(t *testing.T, ns, expression string) {
	t.Helper()
	name := "stamp-" + ns
	admin := s.as(t, "")
	policy := &admission.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admission.MutatingAdmissionPolicySpec{
		ReinvocationPolicy: admission.NeverReinvocationPolicy,
		MatchConstraints: &admission.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": ns}},
			ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: admission.RuleWithOperations{
				Operations: []admission.OperationType{admission.Update},
				Rule:       admission.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"v1"}, Resources: []string{"statefulsets"}},
			}}},
		},
		Mutations: []admission.Mutation{{
			PatchType: admission.PatchTypeApplyConfiguration, ApplyConfiguration: &admission.ApplyConfiguration{Expression: expression},
		}},
	}}
	binding := &admission.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admission.MutatingAdmissionPolicyBindingSpec{PolicyName: name}}
	for _, object := range []client.Object{policy, binding} {
		_ = client.IgnoreNotFound(admin.Delete(t.Context(), object)) // of an earlier call
		object.SetResourceVersion("")
		err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
			return client.IgnoreAlreadyExists(admin.Create(ctx, object)) == nil, nil
		})
		if err != nil {
			t.Fatalf("making a policy that changes what is written: %v", err)
		}
		t.Cleanup(func() { _ = client.IgnoreNotFound(admin.Delete(context.WithoutCancel(t.Context()), object)) })
	}
}
