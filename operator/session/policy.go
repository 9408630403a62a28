package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"understudy.dev/understudy/operator/api/v1alpha1"
)

// policyLag is how long after its creation a policy counts as not yet in force:
// API servers take a moment to see a new one, and times of creation are whole
// seconds.
const policyLag = 3 * time.Second

// policy refuses to begin anything while the admission policy is missing that
// ties a session's owner to the caller and to the caller's rights: without it
// whoever may create Sessions could take over any workload of the namespace.
//
// A Session that is older than the policy was checked by nobody. There can be
// some: the resource stays when the chart is uninstalled, and is there before
// the policies when it is installed.
func policy(ctx context.Context, v *visit) (bool, error) {
	if v.begun() {
		return true, nil
	}
	rule, binding := &admissionv1.ValidatingAdmissionPolicy{}, &admissionv1.ValidatingAdmissionPolicyBinding{}
	for _, object := range []client.Object{rule, binding} {
		err := v.Live.Get(ctx, client.ObjectKey{Name: v.PolicyName}, object)
		if apierrors.IsNotFound(err) {
			return false, final(v1alpha1.ReasonPolicyMissing,
				"the ValidatingAdmissionPolicy %s or its binding is not installed, so that nothing ties a session to its owner's rights: install the chart whole", v.PolicyName)
		}
		if err != nil {
			return false, fmt.Errorf("looking for the admission policy %s: %w", v.PolicyName, err)
		}
	}
	if !binds(binding, v.PolicyName) {
		return false, final(v1alpha1.ReasonPolicyMissing,
			"the ValidatingAdmissionPolicyBinding %s was changed and does not deny for every session, so that nothing ties a session to its owner's rights: install the chart again", v.PolicyName)
	}
	lag := v.PolicyLag
	if lag == 0 {
		lag = policyLag
	}
	for _, object := range []client.Object{rule, binding} {
		if since := object.GetCreationTimestamp().Add(lag); !v.session.CreationTimestamp.After(since) {
			return false, final(v1alpha1.ReasonPolicyMissing,
				"the session was asked for before the policy %s was in force (%s), so that nobody checked its owner's rights: end it and start it again",
				v.PolicyName, since.UTC().Format(time.RFC3339))
		}
	}
	return true, nil
}

// begun says whether anything was done for the session: the record comes first,
// and where there is nothing to record the agent.
func (v *visit) begun() bool {
	recorded := v.condition(v1alpha1.ConditionRecorded)
	return recorded != nil && recorded.Status != metav1.ConditionUnknown || v.status().Agent != nil
}

// binds says whether a binding enforces that policy everywhere.
func binds(binding *admissionv1.ValidatingAdmissionPolicyBinding, policy string) bool {
	if m := binding.Spec.MatchResources; m != nil && (selects(m.NamespaceSelector) || selects(m.ObjectSelector) || len(m.ResourceRules) > 0 || len(m.ExcludeResourceRules) > 0) {
		return false
	}
	return binding.Spec.PolicyName == policy && slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny)
}

func selects(selector *metav1.LabelSelector) bool {
	return selector != nil && (len(selector.MatchLabels) > 0 || len(selector.MatchExpressions) > 0)
}
