package plan

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// refuse has a policy refuse what is written of a kind in the place's namespace, with
// these words; with an expression for what is let through.
func (p *place) refuse(group, version, resource string, operation admissionregistrationv1.OperationType, but, words string) {
	p.t.Helper()
	reason, name := metav1.StatusReasonForbidden, p.Namespace+"-"+resource
	api := p.admin.Kube.AdmissionregistrationV1()
	_, err := api.ValidatingAdmissionPolicies().Create(p.t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregistrationv1.RuleWithOperations{
					Operations: []admissionregistrationv1.OperationType{operation},
					Rule:       admissionregistrationv1.Rule{APIGroups: []string{group}, APIVersions: []string{version}, Resources: []string{resource}},
				},
			}}},
			Validations: []admissionregistrationv1.Validation{{Expression: but, Message: words, Reason: &reason}},
		},
	}, metav1.CreateOptions{})
	must(p.t, err)
	_, err = api.ValidatingAdmissionPolicyBindings().Create(p.t.Context(), &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": p.Namespace}}},
		},
	}, metav1.CreateOptions{})
	must(p.t, err)
}

// comes waits for something to be in the way: a policy takes a moment to count.
func (p *place) comes(code, words string) {
	p.t.Helper()
	var got []string
	err := wait.PollUntilContextTimeout(p.t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		got = p.codes(Blocks)
		return slices.ContainsFunc(got, func(f string) bool { return strings.HasPrefix(f, code+": ") && strings.Contains(f, words) }), nil
	})
	if err != nil {
		p.t.Fatalf("in the way: %q, want %s: %q (%v)", got, code, words, err)
	}
}

// Where no sessions are allowed, or none are taken any more, the policies say so of
// a session that is not made.
func TestSessionRefused(t *testing.T) {
	p := newPlace(t, nil)
	p.refuse("understudy.dev", "v1alpha1", "sessions", admissionregistrationv1.Create, "false", "Understudy is being uninstalled and takes no new sessions")
	p.comes("SessionRefused", "denied request: Understudy is being uninstalled and takes no new sessions")
	if sessions, _, err := p.admin.List(t.Context()); err != nil || len(sessions) > 0 {
		t.Errorf("there are sessions: %v, %v", sessions, err)
	}
}

// What would refuse the number 0 is said in its own words, to who may write it, and
// the target stays as it was.
func TestHoldRefusedByPolicy(t *testing.T) {
	p := newPlace(t, nil)
	before := p.everything()
	p.refuse("apps", "v1", "deployments", admissionregistrationv1.Update, "object.spec.replicas != 0", "nobody brings this to zero")
	p.comes("HoldDenied", "denied request: nobody brings this to zero")
	if after := p.everything(); !slices.Equal(before, after) {
		t.Errorf("before there was %v, afterwards %v", before, after)
	}
	// Who may not write it is told that nobody was asked.
	_, w := p.as("nobody").plan()
	if w.HoldTrial.Untried != "you may not patch deployment/worker" {
		t.Errorf("tried: %+v", w.HoldTrial)
	}
	expect(t, holdTrial(w), "notes HoldUntried: at zero (you may not patch deployment/worker)")
}

// Each kind is tried as the operator holds it.
func TestZero(t *testing.T) {
	for manifest, want := range map[string]string{
		worker: `"spec":{"replicas":0}`, job: `"spec":{"suspend":true}`, scaledJob: `"autoscaling.keda.sh/paused":"true"`,
	} {
		if got, err := zeroPatch(shop(t, manifest, nil)); err != nil || !strings.Contains(string(got), want) || !strings.Contains(string(got), `"understudy.dev/claim":`) {
			t.Errorf("got %s, %v; want %s", got, err, want)
		}
	}
}

const scaledJob = `
apiVersion: keda.sh/v1alpha1
kind: ScaledJob
metadata: {name: import, namespace: shop, uid: u5}
`
